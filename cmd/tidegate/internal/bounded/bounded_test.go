package bounded

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

func TestWhatEndedAProcessIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		killer syscall.Signal
		dump   string
		want   error
	}{
		"nothing":                               {0, "", nil},
		"words of its own":                      {0, "a plugin wrote this", nil},
		"no memory left":                        {0, "runtime: out of memory: cannot allocate 1073741824-byte block\nfatal error: out of memory\n", &MemoryError{}},
		"no memory for the runtime's own needs": {0, "fatal error: runtime: cannot allocate memory\n", &MemoryError{}},
		"the system, short of memory":           {syscall.SIGKILL, "", &MemoryError{}},
		"a reader that has gone":                {syscall.SIGPIPE, "", nil},
		"endless recursion":                     {0, "runtime: goroutine stack exceeds 67108864-byte limit\nfatal error: stack overflow\n", ErrStack},
		"a mistake of the program":              {0, "panic: runtime error: index out of range\n", nil},
		"another mistake of the program":        {0, "fatal error: concurrent map writes\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := cause(c.killer, c.dump, 1<<30)
			_, memory := errors.AsType[*MemoryError](got)
			_, wantMemory := errors.AsType[*MemoryError](c.want)
			if memory != wantMemory || !memory && !errors.Is(got, c.want) {
				t.Errorf("wanted %v, found %v", c.want, got)
			}
		})
	}
}

func TestPeopleSayHowMuchMemoryThereIs(t *testing.T) {
	for text, want := range map[string]int64{"": usual, "4Gi": 4 << 30, "200000000": 200_000_000} {
		if got, err := wanted(text); err != nil || got != want {
			t.Errorf("%q: wanted %d, found %d and %v", text, want, got, err)
		}
	}
	for _, text := range []string{"much", "1Mi", "-1", "0"} {
		if _, err := wanted(text); err == nil || !strings.Contains(err.Error(), "wanted an amount of memory in TIDEGATE_MEMORY, of at least 128Mi, such as 4Gi, found") {
			t.Errorf("%q: found %v", text, err)
		}
	}
	if text := (&MemoryError{Limit: usual}).Error(); !strings.Contains(text, "within 2Gi of memory") {
		t.Errorf("found %s", text)
	}
}

func TestWhoHoldsTooMuchIsNoticed(t *testing.T) {
	over := make(chan struct{})
	// Any program holds more than a byte.
	go watch(1, func() { close(over) })
	<-over
}
