//go:build !linux

package gateway

import "os/exec"

// dieWithParent does nothing: other kernels cannot, so only Stop and the context end the child.
func dieWithParent(*exec.Cmd) {}
