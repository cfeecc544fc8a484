package bounded

import "syscall"

// slack is what a Go program maps without touching it.
const slack = 1 << 29 // 512 MiB

// limit makes the system refuse this process more than so many bytes of data, after which
// the Go runtime ends it. Where it cannot be had, watch is left. What is only reserved does
// not count, since programs that this one starts, to log in, have the same limit.
func limit(bytes uint64) {
	_ = syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: bytes + slack, Max: bytes + slack})
}
