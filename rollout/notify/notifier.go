// Package notify tells people what becomes of Rollouts, as the platform's file says: who is
// told of what, and where.
//
// The package is the shell: it reads the file again when it changes, keeps a bounded queue
// and a worker for each sink, and reads Secrets. What is worth telling is decided by package
// news, who is told by package rules, and package send delivers.
//
// Nothing here holds up whoever calls Tell or TellStep: a sink that is down, slow or gone
// costs its own events, the oldest first. An event is delivered at least once while this
// process lives, and is lost with it.
package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/go-logr/logr"
	lru "github.com/hashicorp/golang-lru/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/notify/news"
	"tidegate.io/tidegate/rollout/notify/rules"
	"tidegate.io/tidegate/rollout/notify/send"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// maxTold is how many events are remembered, so as not to tell them again.
	maxTold = 8192
	// reloadInterval is how often the file is looked at; a kubelet takes longer to bring it.
	reloadInterval = 10 * time.Second
	// stopGrace is how long events that wait are still delivered when the manager stops.
	stopGrace = 5 * time.Second
)

// Options are what a Notifier needs.
type Options struct {
	// File is the path of the platform's file. Required.
	File string
	// Secrets reads the Secrets that the file names, best from a cache: it is asked for every
	// attempt. Required.
	Secrets client.Reader
	// Namespace is that of the Secrets: the manager's. Required.
	Namespace string
	// Clock tells the time. Required.
	Clock clock.Clock
	// Metrics are those of the Notifier. Required.
	Metrics *Metrics
	Log     logr.Logger
}

// Validate reports what is missing.
func (o Options) Validate() error {
	if o.File == "" || o.Secrets == nil || o.Namespace == "" || o.Clock == nil || o.Metrics == nil {
		return errors.New("set File, Secrets, Namespace, Clock and Metrics of the notifications")
	}
	return nil
}

// Notifier tells sinks about Rollouts. It is safe for concurrent use.
type Notifier struct {
	opts Options
	// told has the IDs of events that went out.
	told *lru.Cache[string, struct{}]

	// mu guards what a reload replaces. Nobody waits for a sink while holding it.
	mu    sync.RWMutex
	rules *rules.File
	sinks map[string]*sink
	// begin starts the worker of a sink; nil before Start.
	begin func(*sink)

	// read is what the file had when it was last looked at, unread why it could not be. Only
	// the reload touches them.
	read   []byte
	unread string
}

// New returns a Notifier by what the file says now. A file that cannot be used is logged and
// shows in the metrics, and nothing is told until it is mended: notifications never keep the
// manager from its work.
func New(o Options) (*Notifier, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	told, err := lru.New[string, struct{}](maxTold)
	if err != nil {
		return nil, fmt.Errorf("making the memory of notifications: %w", err)
	}
	n := &Notifier{opts: o, told: told, rules: &rules.File{}, sinks: map[string]*sink{}}
	n.reload()
	return n, nil
}

// Tell tells of the change of a Rollout's status from before, if it is worth telling and has
// not been told. labels are those of the Release. It returns at once.
func (n *Notifier) Tell(before *v1alpha1.RolloutStatus, rollout *v1alpha1.Rollout, labels map[string]string) {
	n.tell(news.Of(before, rollout, labels, n.opts.Clock.Now()))
}

// TellStep tells what a step of a strategy says, once for each Rollout, step and text. sink
// is the name of the sink that the step asks for, or empty for those of the routes; one that
// is not there is the same as none. step counts from 1. It returns at once.
func (n *Notifier) TellStep(rollout *v1alpha1.Rollout, labels map[string]string, step int32, text, sink string) {
	n.tell(news.OfStep(rollout, labels, step, text, sink, n.opts.Clock.Now()))
}

func (n *Notifier) tell(e *news.Event) {
	if e == nil {
		return
	}
	if seen, _ := n.told.ContainsOrAdd(e.ID, struct{}{}); seen {
		return
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if e.Sink != "" && !n.rules.Has(e.Sink) {
		n.opts.Metrics.unknown.Inc()
		n.opts.Log.Info("A step asks for a sink that the file of notifications does not have; its routes are asked instead",
			"sink", e.Sink, "namespace", e.Namespace, "rollout", e.Rollout)
	}
	names := n.rules.Told(e)
	n.opts.Metrics.event(e.Kind)
	if len(names) == 0 && e.Severity.Reaches(news.Info) {
		n.opts.Metrics.unrouted.Inc()
	}
	for _, name := range names {
		n.sinks[name].take(e)
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: the file is checked on every
// replica, and only the leader has something to tell.
func (n *Notifier) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: it delivers until ctx ends, and then for a moment more
// what waits.
func (n *Notifier) Start(ctx context.Context) error {
	var workers sync.WaitGroup
	n.mu.Lock()
	n.begin = func(s *sink) {
		own, retire := context.WithCancel(ctx)
		s.retire = retire
		workers.Go(func() {
			defer retire()
			late, stop := n.graceAfter(own)
			defer stop()
			s.run(own, late)
			n.ended(s)
		})
	}
	for _, s := range n.sinks {
		n.begin(s)
	}
	n.mu.Unlock()

	n.watch(ctx)
	n.mu.Lock()
	n.begin = nil
	n.mu.Unlock()
	workers.Wait()
	return nil
}

// graceAfter returns a context that ends a moment after ctx does.
func (n *Notifier) graceAfter(ctx context.Context) (context.Context, context.CancelFunc) {
	late, stop := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		select {
		case <-late.Done():
		case <-n.opts.Clock.After(stopGrace):
			stop()
		}
	})
	return late, stop
}

// watch looks at the file from time to time, until ctx ends.
func (n *Notifier) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.opts.Clock.After(reloadInterval):
			n.reload()
		}
	}
}

// reload takes the file over if it has changed and can be used, and keeps the one before
// otherwise.
func (n *Notifier) reload() {
	text, err := os.ReadFile(n.opts.File)
	if err != nil {
		if why := err.Error(); why != n.unread {
			n.unread, n.read = why, nil
			n.refuse(fmt.Errorf("wanted the file of notifications, found none that can be read: %w; mount it, or start the manager without --notifications-file", err))
		}
		return
	}
	if n.unread == "" && n.read != nil && bytes.Equal(text, n.read) {
		return
	}
	n.unread, n.read = "", append([]byte{}, text...)
	file, err := rules.Parse(text)
	if err == nil {
		err = n.apply(file)
	}
	if err != nil {
		n.refuse(err)
		return
	}
	n.opts.Metrics.loaded(true)
	n.opts.Log.Info("Notifications are told by this file", "sinks", len(file.Sinks), "routes", len(file.Routes))
}

func (n *Notifier) refuse(err error) {
	n.opts.Metrics.loaded(false)
	n.opts.Log.Error(err, "The file of notifications cannot be used; what was read before stands", "file", n.opts.File)
}

// apply makes sinks be those of a file. A sink that stays as it was keeps its connections,
// and one that only changes keeps what waits in its queue.
func (n *Notifier) apply(file *rules.File) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	changed := map[string]*settings{}
	for i := range file.Sinks {
		config := file.Sinks[i]
		if old := n.sinks[config.Name]; old != nil && n.rules.Cluster == file.Cluster && reflect.DeepEqual(old.settings.Load().config, config) {
			continue
		}
		sender, err := send.New(&config, file.Cluster, n.opts.Clock)
		if err != nil {
			return fmt.Errorf("sinks[%s]: %w", config.Name, err)
		}
		changed[config.Name] = newSettings(config, sender, n.secretsOf(config.SecretName))
	}
	for name, s := range n.sinks {
		if !file.Has(name) {
			delete(n.sinks, name)
			s.end()
		}
	}
	for name, made := range changed {
		if old := n.sinks[name]; old != nil {
			old.settings.Store(made)
			continue
		}
		s := newSink(name, made, n.opts)
		n.sinks[name] = s
		if n.begin != nil {
			n.begin(s)
		}
	}
	n.rules = file
	return nil
}

// ended forgets the metrics of a sink that is no more.
func (n *Notifier) ended(s *sink) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.sinks[s.name] == nil {
		n.opts.Metrics.forget(s.name)
	}
}
