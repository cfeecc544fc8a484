package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// creators is how many Releases are made, or changed, at once.
const creators = 16

// fleet is all Releases of the bench, as its own watch has seen them.
type fleet struct {
	client client.Client

	mu       sync.Mutex
	made     int
	releases map[string]*seen
	// version is that of the last change of any Release.
	version int
}

// seen is what was seen of the newest Rollout of a Release.
type seen struct {
	number int64
	phase  v1alpha1.RolloutPhase
	// promoted is when the whole weight was first seen on it, and ended when it had ended.
	promoted, ended time.Time
}

func newFleet(ctx context.Context, c client.Client, informers cache.Cache) (*fleet, error) {
	f := &fleet{client: c, releases: map[string]*seen{}}
	informer, err := informers.GetInformer(ctx, &v1alpha1.Rollout{})
	if err != nil {
		return nil, fmt.Errorf("watching Rollouts: %w", err)
	}
	see := func(o any) {
		if rollout, ok := o.(*v1alpha1.Rollout); ok {
			f.see(rollout, time.Now())
		}
	}
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, o any) { see(o) }}); err != nil {
		return nil, fmt.Errorf("watching Rollouts: %w", err)
	}
	return f, nil
}

// see notes what is new about a Rollout.
func (f *fleet) see(rollout *v1alpha1.Rollout, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.releases[rollout.Spec.Release]
	if s == nil {
		s = &seen{}
		f.releases[rollout.Spec.Release] = s
	}
	if rollout.Spec.Number < s.number {
		return
	}
	if rollout.Spec.Number > s.number {
		*s = seen{number: rollout.Spec.Number}
	}
	s.phase = rollout.Status.Phase
	if s.promoted.IsZero() && rollout.Status.Weight == fullWeight {
		s.promoted = now
	}
	if s.ended.IsZero() && s.phase.Terminal() {
		s.ended = now
	}
}

const fullWeight = 100

// size is how many Releases were made.
func (f *fleet) size() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made
}

// settled is how many Releases have a newest Rollout that has succeeded.
func (f *fleet) settled() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, s := range f.releases {
		if s.phase == v1alpha1.RolloutSucceeded {
			n++
		}
	}
	return n
}

// newest is what was seen of a Release last.
func (f *fleet) newest(release string) seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.releases[release]; s != nil {
		return *s
	}
	return seen{}
}

// releaseName is that of the Release with a number from 0; none is the beginning of another.
func releaseName(i int) string { return fmt.Sprintf("r%05d", i) }

func newRelease(i, replicas int) *v1alpha1.Release {
	return &v1alpha1.Release{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: releaseName(i)},
		Spec: v1alpha1.ReleaseSpec{
			Template: v1alpha1.TemplateReference{Name: templateName},
			Values:   &runtime.RawExtension{Raw: fmt.Appendf(nil, `{"image":"app:v0","replicas":%d}`, replicas)},
		},
	}
}

// admitted says whether the webhook has seen the template.
func (f *fleet) admitted(ctx context.Context) bool {
	return f.client.Create(ctx, newRelease(0, 1), client.DryRunAll) == nil
}

// create makes the Releases with the numbers from first to before end.
func (f *fleet) create(ctx context.Context, first, end, replicas int) error {
	err := inParallel(creators, end-first, func(i int) error {
		release := newRelease(first+i, replicas)
		if err := f.client.Create(ctx, release); err != nil {
			return fmt.Errorf("creating Release %s: %w", release.Name, err)
		}
		return nil
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made = end
	return err
}

// change is one that was made to the spec of a Release.
type change struct {
	release string
	// number is that of the Rollout that it leads to.
	number int64
	// sent is when the request was sent, accepted when it was answered.
	sent, accepted time.Time
}

// change gives a Release another image.
func (f *fleet) change(ctx context.Context, release string) (change, error) {
	f.mu.Lock()
	f.version++
	image := fmt.Sprintf("app:v%d", f.version)
	f.mu.Unlock()
	c := change{release: release, number: f.newest(release).number + 1, sent: time.Now()}
	key := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: release}}
	patch := fmt.Appendf(nil, `{"spec":{"values":{"image":%q}}}`, image)
	if err := f.client.Patch(ctx, key, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return c, fmt.Errorf("changing Release %s: %w", release, err)
	}
	c.accepted = time.Now()
	return c, nil
}

// changeAll changes the Releases with the numbers from first on, all at once.
func (f *fleet) changeAll(ctx context.Context, first, n int) ([]change, error) {
	out := make([]change, n)
	err := inParallel(n, n, func(i int) error {
		var err error
		out[i], err = f.change(ctx, releaseName(first+i))
		return err
	})
	return out, err
}

// finish waits until the Rollouts of all changes have succeeded, and returns what was seen of each.
func (f *fleet) finish(ctx context.Context, changes []change, patience time.Duration) ([]seen, error) {
	out := make([]seen, len(changes))
	missing := ""
	err := await(ctx, fmt.Sprintf("%d rollouts to be done", len(changes)), patience, func() (bool, error) {
		missing = ""
		for i, c := range changes {
			out[i] = f.newest(c.release)
			switch {
			case out[i].number > c.number || out[i].phase == v1alpha1.RolloutAborted:
				return false, fmt.Errorf("wanted Rollout %s-%d to succeed, found number %d in phase %s", c.release, c.number, out[i].number, out[i].phase)
			case out[i].number < c.number || out[i].ended.IsZero():
				missing = fmt.Sprintf("%s is at Rollout %d, phase %q", c.release, out[i].number, out[i].phase)
			}
		}
		return missing == "", nil
	})
	if err != nil && missing != "" {
		return nil, fmt.Errorf("%w; %s", err, missing)
	}
	return out, err
}

// inParallel calls do for 0 to n-1, so many at once, and returns what failed.
func inParallel(atOnce, n int, do func(int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	next := make(chan int)
	for range min(atOnce, n) {
		wg.Go(func() {
			for i := range next {
				errs[i] = do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	return errors.Join(errs...)
}
