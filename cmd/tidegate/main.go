// Command tidegate shows and steers releases that go through Tidegate, and renders them
// without a cluster. Installed as kubectl-tidegate it is a plugin of kubectl.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	// Kubeconfigs name cloud providers' ways to log in.
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"tidegate.io/tidegate/cmd/tidegate/internal/bounded"
	"tidegate.io/tidegate/cmd/tidegate/internal/command"
	"tidegate.io/tidegate/cmd/tidegate/internal/term"
	"tidegate.io/tidegate/schemas/worker"
)

// workerCommand makes this program a worker of another one: it is for itself alone, and no
// command that the help lists.
const workerCommand = "policy-worker"

// policyCompileTime is how long compiling a policy may take, of the 3 s that it has to come
// into force.
const policyCompileTime = 2500 * time.Millisecond

// patience is how long a command has to end by itself after a signal.
const patience = 2 * time.Second

func main() { os.Exit(run()) }

// giveUp ends a program that does not heed a signal: what compiles a policy cannot be
// interrupted.
func giveUp() {
	time.Sleep(patience)
	os.Exit(command.ExitInterrupted)
}

func run() int {
	if len(os.Args) == 2 && os.Args[1] == workerCommand {
		return worker.Main()
	}
	log.SetLogger(logr.Discard())
	messages, child := bounded.Child()
	if child {
		os.Stderr = messages
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, giveUp)
	env := command.Env{
		Name:     command.ProgramName(os.Args[0]),
		In:       os.Stdin,
		Out:      os.Stdout,
		Err:      os.Stderr,
		Terminal: term.IsTerminal(os.Stdout),
		Size:     func() (int, int) { return term.Size(os.Stdout) },
		Getenv:   os.Getenv,
		Now:      time.Now,
		Client: func(getter genericclioptions.RESTClientGetter, scheme *runtime.Scheme) (client.Client, error) {
			return command.Connect(getter, scheme, os.Stderr)
		},
		Discovery: command.Discover,
	}
	if !child && bounded.Supported {
		env.Bounded = func(ctx context.Context) (int, error) { return bounded.Run(ctx, os.Args, os.Stderr) }
	}
	// No process is started before there is a policy in CUE.
	if self, err := os.Executable(); err == nil {
		if pool, err := worker.New(worker.Options{Command: []string{self, workerCommand}, Workers: 1, CheckTimeout: policyCompileTime}); err == nil {
			defer pool.Close()
			env.CUE = worker.Policies{Pool: pool}
		}
	}
	return command.Run(ctx, env, os.Args[1:])
}
