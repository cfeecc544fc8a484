// Command gateway is the test gateway of the local cluster. It routes HTTP requests and gRPC calls
// by the Gateway API objects of a cluster, with the semantics of a third party: Traefik's provider
// watches the cluster, attaches routes, resolves references and writes their status, and Traefik's
// muxer and weighted balancer decide where a request goes. The data plane below them is small and
// our own: it forwards to the loopback addresses that stand for pods.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/rs/zerolog/log"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/provider/kubernetes/gateway"
	"github.com/traefik/traefik/v3/pkg/safe"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

type options struct {
	kubeconfig   string
	listen       string
	addressFile  string
	listenerPort int
	drain        time.Duration
	logLevel     zerolog.Level
}

func main() {
	opts, err := parseFlags(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(exitUsage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, opts); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(exitFailed)
	}
}

func parseFlags(args []string) (options, error) {
	var o options
	var level string
	fs := flag.NewFlagSet("gateway", flag.ContinueOnError)
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig of the cluster whose routes to serve (required)")
	fs.StringVar(&o.listen, "listen", "127.0.0.1:0", "address to listen on; port 0 picks a free one")
	fs.StringVar(&o.addressFile, "address-file", "", "file to write the chosen address to")
	fs.IntVar(&o.listenerPort, "listener-port", 80, "port of the Gateway listeners that this process serves, whatever it listens on itself")
	fs.DurationVar(&o.drain, "drain", 10*time.Second, "how long requests in flight may take to end after SIGTERM")
	fs.StringVar(&level, "log-level", "warn", "debug, info, warn or error")
	if err := fs.Parse(args); err != nil {
		return o, fmt.Errorf("reading flags: %w", err)
	}
	if o.kubeconfig == "" {
		return o, errors.New("--kubeconfig is required: give the kubeconfig of the cluster whose routes to serve")
	}
	var err error
	if o.logLevel, err = zerolog.ParseLevel(level); err != nil {
		return o, fmt.Errorf("--log-level wants debug, info, warn or error, found %q: %w", level, err)
	}
	return o, nil
}

// run serves until ctx ends, then lets the requests in flight end.
func run(ctx context.Context, o options) error {
	zerolog.SetGlobalLevel(o.logLevel)
	log.Logger = zerolog.New(os.Stderr).With().Timestamp().Logger()

	// Outlives ctx: routes stay up to date while the last requests end.
	watchCtx, stopWatch := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWatch()
	pool := safe.NewPool(watchCtx)
	st := &stats{}
	pl, err := newPlane(newTransport(), st, pool)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", o.listen, err)
	}
	defer listener.Close() //nolint:errcheck // Serve closes it first.

	if err := watch(watchCtx, o, listener.Addr(), pl, pool); err != nil {
		return err
	}

	if err := announce(o.addressFile, listener.Addr().String()); err != nil {
		return err
	}
	return serve(ctx, listener, handler(pl, st), o.drain)
}

// serve answers requests until ctx ends; those in flight then have the time of drain to end.
func serve(ctx context.Context, listener net.Listener, h http.Handler, drain time.Duration) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true) // For gRPC.
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}

	drainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := server.Shutdown(drainCtx); err != nil {
		return fmt.Errorf("waiting %s for requests in flight: %w", drain, err)
	}
	return nil
}

// watch runs the provider and applies each configuration that it makes.
func watch(ctx context.Context, o options, address net.Addr, pl *plane, pool *safe.Pool) error {
	// The provider takes its cluster from the environment alone.
	kubeconfig, err := throughProxy(ctx, o.kubeconfig)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{"KUBECONFIG": kubeconfig, "KUBERNETES_SERVICE_HOST": "", "KUBERNETES_SERVICE_PORT": ""} {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	host, _, err := net.SplitHostPort(address.String())
	if err != nil {
		return fmt.Errorf("reading own address: %w", err)
	}
	provider := &gateway.Provider{
		EntryPoints:   map[string]gateway.Entrypoint{"web": {Address: ":" + strconv.Itoa(o.listenerPort)}},
		StatusAddress: &gateway.StatusAddress{IP: host},
	}
	provider.SetDefaults()
	if err := provider.Init(); err != nil {
		return fmt.Errorf("starting the Gateway API provider with %s: %w", o.kubeconfig, err)
	}

	// Unbuffered: the provider computes the next configuration after this one took effect.
	messages := make(chan dynamic.Message)
	pool.GoCtx(func(ctx context.Context) {
		for {
			select {
			case <-ctx.Done():
				return
			case m := <-messages:
				if m.Configuration == nil || m.Configuration.HTTP == nil {
					log.Warn().Msg("Provider gave no configuration; the current one stays")
					continue
				}
				if err := pl.apply(ctx, m.Configuration.HTTP); err != nil {
					log.Error().Err(err).Msg("Part of the configuration does not work")
				}
			}
		}
	})
	if err := provider.Provide(messages, pool); err != nil {
		return fmt.Errorf("watching the cluster: %w", err)
	}
	return ctx.Err()
}

// handler puts the gateway's own pages before the routes.
func handler(pl *plane, st *stats) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+statsPath, st)
	mux.HandleFunc("GET "+healthPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not through the mux, which would clean the path of a request that is not ours.
		if r.URL.Path == statsPath || r.URL.Path == healthPath {
			mux.ServeHTTP(w, r)
			return
		}
		pl.ServeHTTP(w, r)
	})
}

// announce tells the chosen address on standard output and, if wanted, in a file that appears whole.
func announce(file, address string) error {
	if _, err := fmt.Fprintln(os.Stdout, address); err != nil {
		return fmt.Errorf("writing the address: %w", err)
	}
	if file == "" {
		return nil
	}
	temporary := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".tmp")
	if err := os.WriteFile(temporary, []byte(address), 0o600); err != nil {
		return fmt.Errorf("writing the address: %w", err)
	}
	if err := os.Rename(temporary, file); err != nil {
		return fmt.Errorf("writing the address: %w", err)
	}
	return nil
}
