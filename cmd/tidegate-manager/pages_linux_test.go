package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// ofFiles is how many kB of files are mapped into this process.
func ofFiles(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(status), "RssFile:")
	if fields := strings.Fields(rest); found && len(fields) > 0 {
		if n, err := strconv.Atoi(fields[0]); err == nil {
			return n
		}
	}
	t.Skipf("this kernel does not say how much of files is mapped:\n%s", status)
	return 0
}

// Tests beside it bring back what they use, but not the most of the program.
func TestTheProgramsPagesAreReturned(t *testing.T) {
	before := ofFiles(t)
	returnProgram()
	if after := ofFiles(t); after > before*3/4 {
		t.Errorf("%d kB of files are mapped, want at most three quarters of the %d kB before", after, before)
	}
}

func TestOnlyWhatCanBeReadAgainIsReturned(t *testing.T) {
	t.Parallel()
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[uintptr]string{}
	for line := range strings.Lines(string(maps)) {
		fields := strings.Fields(line)
		start, _, _ := strings.Cut(fields[0], "-")
		at, err := strconv.ParseUint(start, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		kinds[uintptr(at)] = fields[1] + " " + fields[len(fields)-1]
	}
	found := programPages(program)
	if len(found) == 0 {
		t.Errorf("nothing of %s can be read again:\n%s", program, maps)
	}
	for _, p := range found {
		if kind := kinds[p.start]; kind != "r-xp "+program && kind != "r--p "+program {
			t.Errorf("what begins at %x is %q, want what cannot be written of %s", p.start, kind, program)
		}
	}
	if found := programPages("/no/such/program"); len(found) > 0 {
		t.Errorf("of no such program %v are returned, want nothing", found)
	}
}
