package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// returnProgram unmaps the pages of the program itself, most of which only its start needs. Those that are used again
// come back from the page cache within microseconds; the others are the system's to reclaim. What cannot be read or
// unmapped stays.
func returnProgram() {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	for _, p := range programPages(program) {
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, p.start, p.end-p.start, syscall.MADV_DONTNEED)
	}
}

// pages are the addresses from start to before end.
type pages struct{ start, end uintptr }

// programPages are the mappings of a file that nobody may write to and nobody has written to: what was written, as by a
// dynamic linker, could not be read again.
func programPages(path string) []pages {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	var out []pages
	var last pages
	of, written := false, false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		var next pages
		var kind, offset, device, inode, name string
		if n, _ := fmt.Sscanf(line, "%x-%x %s %s %s %s %s", &next.start, &next.end, &kind, &offset, &device, &inode, &name); n >= 6 {
			last, of, written = next, name == path && (kind == "r-xp" || kind == "r--p"), false
			continue
		}
		switch field, value, _ := strings.Cut(line, ":"); {
		case field == "Anonymous" || field == "Swap":
			written = written || strings.TrimSpace(value) != "0 kB"
		case field == "VmFlags" && of && !written: // the last one
			out = append(out, last)
		}
	}
	return out
}
