package budget_test

import (
	"errors"
	"testing"
	"time"

	"tidegate.io/tidegate/policies/eval/budget"
)

// endedBy is why a compilation was ended.
func endedBy(err error) budget.Cause {
	if e, ok := errors.AsType[*budget.Error](err); ok {
		return e.Cause
	}
	return budget.CauseNone
}

func TestCompilationsThatAreLeftBehindAreFew(t *testing.T) {
	release := make(chan struct{})
	began := make(chan string, 16)
	compile := func(digest string, endless bool) error {
		_, err := budget.Compile(t.Context(), 20*time.Millisecond, digest, func(*budget.Step) (int, error) {
			began <- digest
			if endless {
				<-release
			}
			return 0, nil
		})
		return err
	}
	if err := compile("sound", false); err != nil {
		t.Fatal(err)
	}
	if got := endedBy(compile("a", true)); got != budget.CauseAbandoned {
		t.Fatalf("wanted it left behind, found cause %d", got)
	}
	if got := endedBy(compile("a", true)); got != budget.CauseStuck {
		t.Errorf("wanted the same source not compiled beside itself, found cause %d", got)
	}
	if err := compile("sound", false); err != nil {
		t.Errorf("wanted another source compiled, found: %v", err)
	}
	if got := endedBy(compile("b", true)); got != budget.CauseAbandoned {
		t.Errorf("wanted a second one left behind, found cause %d", got)
	}
	if got := endedBy(compile("c", true)); got != budget.CauseStuck {
		t.Errorf("wanted no third one, found cause %d", got)
	}
	close(release)
	deadline := time.Now().Add(10 * time.Second)
	for compile("a", false) != nil || compile("c", false) != nil {
		if time.Now().After(deadline) {
			t.Fatal("wanted them compiled once the others have ended")
		}
		time.Sleep(time.Millisecond)
	}
	close(began)
	times := map[string]int{}
	for digest := range began {
		times[digest]++
	}
	if times["b"] != 1 || times["a"] < 2 {
		t.Errorf("began: %v", times)
	}
}
