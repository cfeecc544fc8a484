package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"tidegate.io/tidegate/webhook"
)

// TestMain is a server where the bench starts this binary as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == serveCommand && os.Getenv(serveEnv) != "" {
		exit(serve(context.Background(), os.Args[2], os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// smallest is a run that touches everything once and measures nothing.
func smallest(t *testing.T) options {
	t.Helper()
	o, err := parse([]string{"-quick", "-o", "json"})
	if err != nil {
		t.Fatal(err)
	}
	o.pace, o.soak = pace{turn: time.Millisecond, rounds: 1, most: time.Minute}, 200*time.Millisecond
	o.policies, o.connections, o.library = []int{2, 3}, []int{1, 2}, ""
	return o
}

func TestARunAnswersEverything(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a dozen processes")
	}
	var out bytes.Buffer
	if err := run(t.Context(), smallest(t), &out); err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	subjects := map[string]int{}
	for _, row := range r.Rows {
		subjects[row.Cell+"/"+row.Subject]++
		if row.Errors > 0 || row.Reviews == 0 || row.Processor <= 0 || row.Resident <= 0 {
			t.Errorf("wanted every review answered and counted, found %+v", row)
		}
	}
	for _, want := range []string{"no policy matches/nothing", "no policy matches/no match", "managed flow/managed flow", "DeployPolicies match/tidegate", "DeployPolicies match/baseline"} {
		if subjects[want] == 0 {
			t.Errorf("wanted rows of %s, found none in %v", want, subjects)
		}
	}
	if s := r.Soak; s == nil || s.Reloads == 0 || s.Reviews == 0 || len(s.Live) != 3 {
		t.Errorf("wanted reviews answered while policies were replaced, found %+v", r.Soak)
	}
}

func TestAnAnswerThatIsNotTheWantedOneIsAnError(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a process")
	}
	s, err := start(t.Context(), part{Role: roleNothing})
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	c := cell{title: "x", connections: 1, subjects: []*subject{{name: "nothing", server: s, path: webhook.PathGate, allowed: false, request: request{user: writer, kind: "Pod", size: 2 << 10}}}}
	if _, err := c.measure(t.Context(), pace{turn: time.Millisecond, rounds: 1, most: time.Minute}); err == nil || !strings.Contains(err.Error(), "allowed=false") {
		t.Errorf("wanted an error about the answer, found %v", err)
	}
}

func TestObjectsHaveTheirSize(t *testing.T) {
	for _, s := range []shape{ordinary, wide} {
		for _, size := range []int{2 << 10, 50 << 10, 1 << 20} {
			for _, kind := range []string{"Pod", "Deployment", "StatefulSet"} {
				raw := object(kind, 1, size, s)
				if !json.Valid(raw) {
					t.Fatalf("%s of %d bytes: wanted JSON, found %.300s", kind, size, raw)
				}
				if n := len(raw); n < size*8/10 || n > size*13/10+700 {
					t.Errorf("%s: wanted about %d bytes, found %d", kind, size, n)
				}
			}
		}
	}
}

func TestTargetsAreJudged(t *testing.T) {
	c := cell{targets: []target{atMost("a", 1, func(r row) float64 { return r.Processor })}}
	for name, tc := range map[string]struct {
		found float64
		want  bool
	}{"what is at most that is met": {1, true}, "what is more is not": {1.01, false}} {
		t.Run(name, func(t *testing.T) {
			v := c.judge(row{Processor: tc.found}, 1)
			if len(v) != 1 || v[0].Met != tc.want {
				t.Errorf("wanted met=%v, found %+v", tc.want, v)
			}
			if v := c.judge(row{}, 0); len(v) != 0 {
				t.Errorf("wanted no target for the first, found %+v", v)
			}
			if v := c.judge(row{Errors: 1}, 1); v[0].Met {
				t.Error("wanted no target met with errors")
			}
		})
	}
}
