// Package local runs a whole Kubernetes control plane of real programs on this machine, without
// Docker and without privileges: etcd, API server, controller manager, scheduler, kwok in place of
// nodes, and on request Prometheus and a gateway. Each cluster has ports, addresses, keys and a
// directory of its own, so that several run side by side, and leaves nothing behind however its
// owner ends.
//
// A test writes
//
//	c := local.ForTest(t, local.Options{})
//
// and uses c.RESTConfig(). Pods run no code: kwok gives them an address 10.b.c.d and calls them
// ready, at once or, with ManualReadiness, when [ReadyAnnotation] says so. By convention whatever
// answers for such a pod listens on 127.b.c.d.
package local

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"tidegate.io/tidegate/test/cluster/binaries"
	"tidegate.io/tidegate/test/cluster/home"
	"tidegate.io/tidegate/test/cluster/pki"
	"tidegate.io/tidegate/test/cluster/proc"
)

// Options say what to start. The zero value is a cluster of two nodes whose pods are ready at once.
type Options struct {
	// Name tells clusters apart; empty: a name that no other cluster has.
	Name string
	// Nodes is the number of kwok nodes, by default 2.
	Nodes int
	// ManualReadiness leaves it to ReadyAnnotation when a pod is ready.
	ManualReadiness bool
	// Prometheus starts one that scrapes every ready pod annotated prometheus.io/scrape: "true", at
	// the port in prometheus.io/port or its containers' ports.
	Prometheus bool
	// ScrapeInterval is how often, by default every second.
	ScrapeInterval time.Duration
	// Gateway installs the Gateway API and starts the test gateway.
	Gateway bool
	// APIServerArgs are appended to the arguments of kube-apiserver.
	APIServerArgs []string
	// Background marks a cluster whose owner has no other purpose: others may end it to stop the
	// cluster, as `go run ./test/cluster down` does.
	Background bool
	// Log receives a line for each step that takes long; nil: nothing is told.
	Log io.Writer
}

// Cluster is a running cluster. Its methods may be called concurrently.
type Cluster struct {
	opts  Options
	home  *home.Home
	ca    *pki.Authority
	admin *rest.Config
	http  *http.Client

	stopOnce sync.Once
	stopErr  error

	mu         sync.Mutex // guards what follows
	components []*component
	state      home.State
	stopped    bool
	failures   []exitError
}

// stopTimeout bounds the cleaning up after a start that failed.
const stopTimeout = 30 * time.Second

// Start builds what is not built yet, starts a cluster and waits until it is of use: the API
// answers, the nodes are ready, namespace default has its service account. ctx bounds the start
// only; the cluster runs until Stop, or until this process ends in whatever way.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	o.Nodes = cmp.Or(o.Nodes, 2)
	o.ScrapeInterval = cmp.Or(o.ScrapeInterval, time.Second)
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Name == "" {
		suffix := make([]byte, 4)
		if _, err := rand.Read(suffix); err != nil {
			return nil, fmt.Errorf("naming the cluster: %w", err)
		}
		o.Name = fmt.Sprintf("test-%d-%s", os.Getpid(), hex.EncodeToString(suffix))
	}
	if err := home.Sweep(ctx); err != nil {
		_, _ = fmt.Fprintf(o.Log, "cleaning up after a cluster that crashed: %v\n", err)
	}
	own, err := home.Claim(ctx, o.Name)
	if err != nil {
		return nil, err
	}
	c := &Cluster{opts: o, home: own}
	remember(c)
	if err := c.start(ctx); err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("starting cluster %s: %w", o.Name, err), c.Stop(clean))
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	for _, step := range []func(context.Context) error{c.furnish, c.startServer, c.prepare, c.startClients, c.awaitUsable} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return c.update(func(s *home.State) { s.Ready = true })
}

// furnish writes everything that the components read, as far as it is known before they run.
func (c *Cluster) furnish(context.Context) error {
	owner, err := proc.Identify(os.Getpid())
	if err != nil {
		return fmt.Errorf("identifying this process: %w", err)
	}
	c.state = home.State{
		Name: c.home.Name, Dir: c.home.Dir, Owner: owner, Background: c.opts.Background,
		PodCIDR: c.home.PodCIDR(), ServiceCIDR: c.home.ServiceCIDR(),
	}
	// First of all, so that a sweeper knows whose directory this is.
	if err := c.state.Write(); err != nil {
		return err
	}
	for _, dir := range []string{"logs", "users", "components", "tmp"} {
		if err := os.MkdirAll(c.home.Path(dir), 0o700); err != nil {
			return fmt.Errorf("making the cluster's directories: %w", err)
		}
	}
	now := time.Now()
	if c.ca, err = pki.NewAuthority("tidegate-test-"+c.home.Name, now); err != nil {
		return err
	}
	return c.writeCredentials(now)
}

// startServer starts the API server and its store, and writes how to log in to it.
func (c *Cluster) startServer(ctx context.Context) error {
	etcd := c.etcd(ctx)
	if err := c.launch(ctx, etcd); err != nil {
		return err
	}
	api := c.apiServer(etcd)
	if err := c.launch(ctx, api); err != nil {
		return err
	}
	if err := c.update(func(s *home.State) { s.APIServerURL, s.Kubeconfig = api.url(), c.Kubeconfig() }); err != nil {
		return err
	}
	if err := c.writeKubeconfigs(time.Now()); err != nil {
		return err
	}
	var err error
	if c.admin, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig()); err != nil {
		return fmt.Errorf("loading the administrator's kubeconfig: %w", err)
	}
	return nil
}

// startClients starts whatever talks to the API server.
func (c *Cluster) startClients(ctx context.Context) error {
	clients := []*component{c.controllerManager(), c.scheduler(), c.kwok()}
	if c.opts.Prometheus {
		clients = append(clients, c.prometheus())
	}
	if c.opts.Gateway {
		if err := c.InstallGatewayAPI(ctx); err != nil {
			return err
		}
		clients = append(clients, c.gateway())
	}
	return c.launch(ctx, clients...)
}

// launch builds and starts components side by side and waits until all are ready.
func (c *Cluster) launch(ctx context.Context, components ...*component) error {
	c.mu.Lock()
	c.components = append(c.components, components...)
	c.mu.Unlock()
	errs := make([]error, len(components))
	var wg sync.WaitGroup
	for i, k := range components {
		wg.Go(func() { errs[i] = c.launchOne(ctx, k) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// launchOne starts a component at a port of its own. A port that a stranger took in between is given
// up for another.
func (c *Cluster) launchOne(ctx context.Context, k *component) error {
	for attempt := 1; ; attempt++ {
		if k.name != Kwok {
			port, err := c.nextPort(ctx)
			if err != nil {
				return fmt.Errorf("starting %s: %w", k.name, err)
			}
			c.mu.Lock()
			k.port = port
			c.mu.Unlock()
		}
		err := c.run(ctx, k)
		if err == nil {
			return nil
		}
		if attempt == 3 || !errors.Is(err, errPortTaken) {
			return fmt.Errorf("starting %s: %w", k.name, err)
		}
	}
}

func (c *Cluster) nextPort(ctx context.Context) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.home.Port(ctx)
}

// run starts a component at its port and waits until it is ready.
func (c *Cluster) run(ctx context.Context, k *component) error {
	path, err := c.BinaryPath(ctx, k.name)
	if err != nil {
		return err
	}
	args, err := k.args(k.port)
	if err != nil {
		return err
	}
	started, err := logSize(c.logFile(k.name))
	if err != nil {
		return err
	}
	p, err := proc.Start(proc.Spec{
		Path: path, Args: args, Dir: c.home.Dir, LogPath: c.logFile(k.name),
		// Nothing of the caller's environment: neither proxies nor anyone's kubeconfig.
		Env: []string{"PATH=/usr/bin:/bin", "HOME=" + c.home.Dir, "TMPDIR=" + c.home.Path("tmp")},
	})
	if err != nil {
		return err
	}
	if err := c.adopt(ctx, k, p); err != nil {
		// It may have ended by itself, which the caller is about to learn.
		ended := c.update(func(*home.State) {
			k.process = nil
			c.failures = slices.DeleteFunc(c.failures, func(e exitError) bool { return e.process == p })
		})
		if taken(c.logFile(k.name), started) {
			err = fmt.Errorf("%w: %w", errPortTaken, err)
		}
		return errors.Join(err, ended, p.Stop(ctx, k.grace))
	}
	return nil
}

// adopt makes a process the component's own and waits until it is ready.
func (c *Cluster) adopt(ctx context.Context, k *component, p *proc.Process) error {
	stopped := false
	if err := c.update(func(*home.State) { k.process, stopped = p, c.stopped }); err != nil {
		return err
	}
	if stopped {
		return errors.New("the cluster was stopped meanwhile")
	}
	go c.watch(k, p)
	return c.awaitReady(ctx, k, p)
}

// watch notes when a component ends that nobody stopped.
func (c *Cluster) watch(k *component, p *proc.Process) {
	<-p.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.process == p {
		c.failures = append(c.failures, exitError{component: k.name, process: p})
	}
}

// Err says which components ended although nobody stopped them; nil: none did.
func (c *Cluster) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := make([]error, 0, len(c.failures))
	for _, e := range c.failures {
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}

// exitError is a component that ended by itself.
type exitError struct {
	component string
	process   *proc.Process
}

func (e exitError) Error() string {
	how := "code 0"
	if err := e.process.Err(); err != nil {
		how = err.Error()
	}
	return fmt.Sprintf("%s ended by itself (%s): %s", e.component, how, lastWords(e.process.LogPath()))
}

// StopComponent stops one component and leaves its data, its port and its place.
func (c *Cluster) StopComponent(ctx context.Context, name string) error {
	k, err := c.find(name)
	if err != nil {
		return err
	}
	return c.end(ctx, k)
}

// StartComponent starts a stopped component again, at the same port and with the data it had, and
// waits until it is ready. One that runs is left alone.
func (c *Cluster) StartComponent(ctx context.Context, name string) error {
	k, err := c.find(name)
	if err != nil {
		return err
	}
	c.mu.Lock()
	runs := k.process != nil && k.process.Identity().Alive()
	c.mu.Unlock()
	if runs {
		return nil
	}
	if err := c.run(ctx, k); err != nil {
		return fmt.Errorf("starting %s again: %w", name, err)
	}
	return nil
}

func (c *Cluster) find(name string) (*component, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, k := range c.components {
		if k.name == name {
			return k, nil
		}
		names = append(names, k.name)
	}
	return nil, fmt.Errorf("cluster %s has no component %q: it has %v", c.home.Name, name, names)
}

// end stops a component on purpose.
func (c *Cluster) end(ctx context.Context, k *component) error {
	var p *proc.Process
	// First the intention, so that watch does not take it for a failure.
	err := c.update(func(*home.State) { p, k.process = k.process, nil })
	if p != nil {
		err = errors.Join(err, p.Stop(ctx, k.grace))
	}
	return err
}

// Stop ends everything that Start started, the last first, removes the cluster's directory and
// gives its name and addresses back. It kills what does not end in time, and at once when ctx ends.
// Stopping again only waits until the first Stop is done.
func (c *Cluster) Stop(ctx context.Context) error {
	c.stopOnce.Do(func() { c.stopErr = c.stop(ctx) })
	return c.stopErr
}

func (c *Cluster) stop(ctx context.Context) error {
	c.mu.Lock()
	c.stopped = true
	all := slices.Clone(c.components)
	c.mu.Unlock()
	servers := []string{APIServer, Etcd}
	var errs []error
	// Clients before the API server, and that before its store.
	for _, wave := range []func(string) bool{
		func(name string) bool { return !slices.Contains(servers, name) },
		func(name string) bool { return name == APIServer },
		func(name string) bool { return name == Etcd },
	} {
		ended := make([]error, len(all))
		var wg sync.WaitGroup
		for i, k := range all {
			if wave(k.name) {
				wg.Go(func() { ended[i] = c.end(ctx, k) })
			}
		}
		wg.Wait()
		errs = append(errs, ended...)
	}
	errs = append(errs, c.home.Release(context.WithoutCancel(ctx)))
	forget(c)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stopping cluster %s: %w", c.home.Name, err)
	}
	return nil
}

// update changes the cluster's state and writes it down.
func (c *Cluster) update(change func(*home.State)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.state)
	c.state.Components = c.state.Components[:0]
	for _, k := range c.components {
		s := home.ComponentState{Name: k.name, Port: k.port, Log: c.logFile(k.name)}
		if k.process != nil {
			s.Process = k.process.Identity()
		}
		c.state.Components = append(c.state.Components, s)
		switch k.name {
		case Prometheus:
			c.state.PrometheusURL = k.url()
		case Gateway:
			c.state.GatewayURL = k.url()
		}
	}
	return c.state.Write()
}

// State returns a copy of what the cluster has written down about itself.
func (c *Cluster) State() home.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state
	s.Components = slices.Clone(s.Components)
	return s
}

// Name returns the cluster's name.
func (c *Cluster) Name() string { return c.home.Name }

// Dir returns the cluster's directory, which Stop removes. Tests may put files there.
func (c *Cluster) Dir() string { return c.home.Dir }

// PodCIDR returns the range of the pods' addresses, 10.<n>.0.0/16, which no other cluster of this
// user has.
func (c *Cluster) PodCIDR() string { return c.home.PodCIDR() }

// PrometheusURL returns where Prometheus serves, whether it runs just now or not; empty without one.
func (c *Cluster) PrometheusURL() string { return c.State().PrometheusURL }

// GatewayURL returns where the gateway serves; empty without one.
func (c *Cluster) GatewayURL() string { return c.State().GatewayURL }

// FreePort returns a port of 127.0.0.1 that no other cluster uses and where nobody listens, for a
// program that belongs to this cluster.
func (c *Cluster) FreePort(ctx context.Context) (int, error) { return c.nextPort(ctx) }

// BinaryPath returns the path of a program (see binaries.Names), building it first if need be.
func (c *Cluster) BinaryPath(ctx context.Context, name string) (string, error) {
	paths, err := binaries.Build(ctx, c.opts.Log, name)
	return paths[name], err
}
