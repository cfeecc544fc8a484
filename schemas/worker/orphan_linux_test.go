package worker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// working waits until a process has worked for so long that it is in the middle of it.
func working(t *testing.T, pid int) {
	t.Helper()
	until(t, func() bool {
		worked, _ := processorTime(pid)
		return worked >= 20*tick
	})
}

// state is the letter that the system has for what a process does, 0 where it is no more.
func state(pid int) byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	return stat[bytes.LastIndexByte(stat, ')')+2]
}

func TestAWorkerEndsWithItsInputInTheMiddleOfAnEndlessRequest(t *testing.T) {
	source := endless(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], asWorker)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ask := request{Op: OpRender, Digest: source.Digest, Files: source.Files, Values: []byte(fair), Context: release("bomb")}
	if err := errors.Join(writeFrame(in, hello{}), writeFrame(in, ask)); err != nil {
		t.Fatal(err)
	}
	working(t, cmd.Process.Pid)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("wanted it to end in peace, found %v", err)
	}
}

// It is hung, so that it can neither notice by itself nor run out of memory.
func TestAWorkerEndsWithAParentThatIsKilled(t *testing.T) {
	folder := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], asParent, folder)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var child int
	until(t, func() bool {
		text, _ := os.ReadFile(filepath.Join(folder, "child"))
		child, _ = strconv.Atoi(string(text))
		return child > 0
	})
	t.Cleanup(func() { _ = syscall.Kill(child, syscall.SIGKILL) }) // it has gone, if all is well
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	until(t, func() bool { return state(child) == 0 || state(child) == 'Z' })
}
