package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidegate.io/tidegate/test/cluster/home"
	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/test/cluster/proc"
)

// TestMain makes this test binary the keeper that up starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "keep" {
		main()
	}
	os.Exit(m.Run())
}

func call(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := app{stdin: strings.NewReader(""), out: &stdout, errOut: &stderr}
	code = a.run(t.Context(), args)
	return code, stdout.String(), stderr.String()
}

func TestWrongUseSaysWhatToDo(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // nothing runs there
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no command":                       {nil, exitUsage, "go run ./test/cluster up [flags]"},
		"help":                             {[]string{"help"}, exitOK, "go run ./test/cluster up [flags]"},
		"help of a command":                {[]string{"up", "-h"}, exitOK, "-manual-readiness"},
		"an unknown command":               {[]string{"start"}, exitUsage, `no command "start": want one of up, status`},
		"an unknown flag":                  {[]string{"up", "--node=3"}, exitUsage, "-node"},
		"a name without its flag":          {[]string{"up", "two"}, exitUsage, "chosen with --name"},
		"an impossible name":               {[]string{"keep", "--name=../x"}, exitFailed, `cluster name "../x": want`},
		"status of nothing":                {[]string{"status"}, exitNotRunning, "start it with `go run ./test/cluster up`"},
		"status of nothing of that name":   {[]string{"status", "--name=two"}, exitNotRunning, "`go run ./test/cluster up --name two`"},
		"kubectl against nothing":          {[]string{"kubectl", "--", "get", "pods"}, exitNotRunning, "start it with"},
		"kubectl without arguments":        {[]string{"kubectl"}, exitUsage, "kubectl -- get pods -A"},
		"building what is not to be built": {[]string{"build", "docker"}, exitFailed, `no program "docker": want one of etcd`},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := call(t, tc.args...)
			if code != tc.code || !strings.Contains(errOut, tc.want) || out != "" {
				t.Errorf("code %d, want %d; stdout %q; stderr %q, want %q", code, tc.code, out, errOut, tc.want)
			}
		})
	}
	if code, out, _ := call(t, "down"); code != exitOK || !strings.Contains(out, `"default" does not run`) {
		t.Errorf("stopping nothing: %d %q", code, out)
	}
}

func TestABackgroundClusterFromUpToDown(t *testing.T) {
	name := fmt.Sprintf("cli-%d", os.Getpid())
	flag := "--name=" + name
	t.Cleanup(func() {
		a := app{out: new(bytes.Buffer), errOut: new(bytes.Buffer)}
		_ = a.run(context.WithoutCancel(t.Context()), []string{"down", flag})
	})
	if code, out, errOut := call(t, "up", flag, "--prometheus=false", "--nodes=3"); code != exitOK || !strings.Contains(out, "is ready after") {
		t.Fatalf("up: %d %s %s", code, out, errOut)
	}
	if code, out, _ := call(t, "up", flag); code != exitOK || !strings.Contains(out, "runs already") {
		t.Errorf("up again: %d %s", code, out)
	}
	code, out, errOut := call(t, "kubectl", flag, "--", "get", "nodes", "-o", "name")
	if code != exitOK || strings.Count(out, "node/") != 3 {
		t.Errorf("kubectl: %d %s %s", code, out, errOut)
	}
	if code, _, errOut := call(t, "kubectl", flag, "--", "get", "node", "nobody"); code != 1 || !strings.Contains(errOut, "not found") || strings.Contains(errOut, "exit status") {
		t.Errorf("a failing kubectl: %d %q", code, errOut)
	}
	code, out, errOut = call(t, "status", flag, "--json")
	var s home.State
	if err := json.Unmarshal([]byte(out), &s); code != exitOK || err != nil || !s.Ready {
		t.Fatalf("status: %d %s %s %v", code, out, errOut, err)
	}

	// A component that dies is missed, and the rest is still stopped.
	for _, k := range s.Components {
		if k.Name == local.Scheduler {
			if err := k.Process.Kill(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if code, _, errOut := call(t, "status", flag); code != exitDegraded || !strings.Contains(errOut, "not running: kube-scheduler") {
		t.Errorf("status without a scheduler: %d %s", code, errOut)
	}
	if code, out, errOut := call(t, "down", flag); code != exitOK || !strings.Contains(out, "is stopped") {
		t.Errorf("down: %d %s %s", code, out, errOut)
	}
	for _, k := range s.Components {
		if k.Process.Alive() {
			t.Errorf("%s is left as process %d", k.Name, k.Process.PID)
		}
	}
	if s.Owner.Alive() {
		t.Error("the keeper is left")
	}
	log, err := home.KeeperLog(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{s.Dir, log} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

func TestAnInterruptedUpLeavesNothing(t *testing.T) {
	name := fmt.Sprintf("cut-%d", os.Getpid())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // interrupts as soon as there is something to leave behind
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if s, err := home.Read(name); ctx.Err() != nil || err == nil && len(s.Components) > 0 {
				cancel()
				return
			}
		}
	}()
	var stdout, stderr bytes.Buffer
	a := app{out: &stdout, errOut: &stderr}
	if code := a.run(ctx, []string{"up", "--name=" + name, "--prometheus=false"}); code != exitFailed {
		t.Errorf("code %d: %s %s", code, &stdout, &stderr)
	}
	if _, err := home.Read(name); !errors.Is(err, home.ErrNotRunning) {
		t.Errorf("it still runs: %v", err)
	}
	log, err := home.KeeperLog(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(log); err != nil {
		t.Errorf("its log should tell what happened: %v", err)
	}
	if _, err := os.Stat(strings.TrimSuffix(log, ".log")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory is left: %v", err)
	}
}

func TestAClusterOfATestIsNotEndedByDown(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	c := writeState(t, "theirs")
	if code, _, errOut := call(t, "down", "--name=theirs"); code != exitFailed || !strings.Contains(errOut, fmt.Sprintf("belongs to process %d", c)) {
		t.Errorf("%d %s", code, errOut)
	}
}

// writeState writes the state of a cluster that this process owns, and returns the owner.
func writeState(t *testing.T, name string) int {
	t.Helper()
	me, err := proc.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	log, err := home.KeeperLog(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSuffix(log, ".log")
	b, err := json.Marshal(home.State{Name: name, Dir: dir, Owner: me})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return me.PID
}
