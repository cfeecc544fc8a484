package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"tidegate.io/tidegate/test/cluster/traffic/gateway"
)

func init() { moreModes["parent"] = runParent }

// runParent starts a gateway, tells its address and waits to be killed.
func runParent() int {
	if err := os.Setenv(modeVariable, "ignores SIGTERM"); err != nil {
		return 5
	}
	g, err := gateway.Start(context.Background(), os.Args[0], "k", os.Stderr)
	if err != nil {
		return 6
	}
	fmt.Println(g.URL)
	<-g.Done()
	return 0
}

func TestGatewayEndsWhenItsParentIsKilled(t *testing.T) {
	parent := exec.CommandContext(t.Context(), self(t))
	parent.Env = append(os.Environ(), modeVariable+"=parent")
	parent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := parent.StdoutPipe()
	must(t, err)
	must(t, parent.Start())
	url, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)

	g := gateway.Gateway{URL: strings.TrimSpace(url)}
	if _, err := g.Stats(t.Context()); err != nil {
		t.Fatalf("the gateway does not serve: %v", err)
	}
	must(t, parent.Process.Kill())
	var exit *exec.ExitError
	if err := parent.Wait(); !errors.As(err, &exit) {
		t.Fatalf("the parent ended with %v", err)
	}
	eventually(t, "the gateway to end", func(ctx context.Context) (bool, error) {
		_, err := g.Stats(ctx)
		return errors.Is(err, syscall.ECONNREFUSED), nil
	})
}
