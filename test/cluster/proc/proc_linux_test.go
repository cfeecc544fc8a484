package proc

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func start(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(Spec{Path: "/bin/sh", Args: []string{"-c", script}, LogPath: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(t.Context(), 0) })
	return p
}

// await waits for a line in the log, so that no test depends on how fast a shell starts.
func await(t *testing.T, p *Process, line string) string {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		b, err := os.ReadFile(p.LogPath())
		if err != nil {
			t.Fatal(err)
		}
		if s := string(b); strings.Contains(s, line) {
			return s
		}
		select {
		case <-deadline:
			t.Fatalf("the child never wrote %q, only %q", line, b)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestAnIdentityIsOnlyThatOneProcess(t *testing.T) {
	p := start(t, "echo up; sleep 60")
	await(t, p, "up")
	id := p.Identity()
	if !id.Alive() {
		t.Fatal("a running process must be alive")
	}
	recycled := id
	recycled.Start += "1"
	if recycled.Alive() {
		t.Error("the same number with another start time is another process")
	}
	if err := recycled.Kill(t.Context()); err != nil {
		t.Errorf("killing a process that is gone: %v", err)
	}
	if !id.Alive() {
		t.Fatal("a stranger with a recycled number was killed")
	}
	if err := id.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if id.Alive() || p.Err() == nil {
		t.Errorf("alive=%v err=%v after a kill", id.Alive(), p.Err())
	}
	if (Identity{}).Alive() {
		t.Error("the zero identity names no process")
	}
}

func TestAnIdentityNeedNotLeadItsGroup(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/bin/sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	id, err := Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := id.Terminate(ctx); err != nil || <-ended == nil {
		t.Errorf("it was not terminated: %v", err)
	}
}

func TestStopAsksFirstAndKillsAfterTheGrace(t *testing.T) {
	t.Run("a process that listens ends by itself", func(t *testing.T) {
		p := start(t, "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
		await(t, p, "up")
		if err := p.Stop(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		if p.Err() != nil {
			t.Errorf("it ended with %v, not by itself", p.Err())
		}
		await(t, p, "bye\n")
	})
	t.Run("a deaf one is killed with its children", func(t *testing.T) {
		p := start(t, "trap '' TERM; sleep 61 & echo up $!; wait; sleep 62")
		var pid int
		for _, c := range await(t, p, "up ")[3:] {
			if c >= '0' && c <= '9' {
				pid = pid*10 + int(c-'0')
			}
		}
		child, err := Identify(pid)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Stop(t.Context(), 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		deadline := time.After(10 * time.Second)
		for child.Alive() {
			select {
			case <-deadline:
				t.Fatal("the grandchild lives on")
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
}

func TestStartTimesAreReadWhateverTheCommandIsCalled(t *testing.T) {
	const tail = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20"
	for name, tc := range map[string]struct{ stat, want, err string }{
		"a plain name":                  {"7 (sh)" + tail, "boot/4711", ""},
		"a name with brackets":          {"7 (a) S 1) (b)" + tail, "boot/4711", ""},
		"a zombie is gone":              {"7 (sh) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20", "", ErrGone.Error()},
		"a cut line is an error":        {"7 (sh) S 1 2", "", `parsing process state "7 (sh) S 1 2": 3 fields`},
		"a line without a name is also": {"7", "", `parsing process state "7": no command name`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat("boot", tc.stat)
			msg := ""
			if err != nil {
				msg = err.Error()
			}
			if got != tc.want || msg != tc.err {
				t.Errorf("got %q, %q; want %q, %q", got, msg, tc.want, tc.err)
			}
		})
	}
}
