package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"tidegate.io/tidegate/rollout/manifest"
	"tidegate.io/tidegate/rollout/plan"
)

const (
	// refusedFor is how long nobody asks again for what was refused.
	refusedFor = 2 * time.Minute
	// refusalsKept bounds how many refusals are remembered.
	refusalsKept = 1000
)

// Refusals are the numbers of pods that autoscalers may not be told to leave. It is safe for concurrent use.
type Refusals struct {
	clock clock.PassiveClock
	at    *lru.Cache[refusal, time.Time]
}

type refusal struct {
	scaler types.NamespacedName
	least  int32
}

// NewRefusals returns none.
func NewRefusals(c clock.PassiveClock) (*Refusals, error) {
	at, err := lru.New[refusal, time.Time](refusalsKept)
	if err != nil {
		return nil, fmt.Errorf("making the memory of refusals: %w", err)
	}
	return &Refusals{clock: c, at: at}, nil
}

func (r *Refusals) has(what refusal) bool {
	if r == nil {
		return false
	}
	at, found := r.at.Get(what)
	return found && r.clock.Since(at) < refusedFor
}

func (r *Refusals) add(what refusal) {
	if r != nil {
		r.at.Add(what, r.clock.Now())
	}
}

// putLifted is put of an object whose autoscaler is to leave a set more pods than was rendered. Where that is refused, as
// by a policy about the cost of it, it is put as rendered: no rollout, and no abort, waits for pods that nobody may keep.
func (a Applier) putLifted(ctx context.Context, t *Target, want *unstructured.Unstructured, action plan.Action) (made bool, err error) {
	lifted := want.DeepCopy()
	if err := manifest.WithLeast(lifted, action.Least); err != nil {
		return false, err //nolint:wrapcheck // says what it did
	}
	least := manifest.Lifted(lifted)
	this := refusal{types.NamespacedName{Namespace: want.GetNamespace(), Name: want.GetName()}, least}
	if least == 0 || a.Refusals.has(this) {
		return a.put(ctx, t, want)
	}
	made, err = a.put(ctx, t, lifted)
	if !refused(err) {
		return made, err
	}
	log.FromContext(ctx).Error(err, "An autoscaler may not be told to leave a set its pods, and may take some away",
		"autoscaler", want.GetName(), "set", action.Role, "pods", least, "again", refusedFor.String())
	a.Refusals.add(this)
	return a.put(ctx, t, want)
}

// refused says whether a write will come to the same however often it is tried: policies refuse with any code
// of this kind, or with none, which is 400 then.
func refused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	switch code := status.Status().Code; code {
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict, http.StatusGone, http.StatusTooManyRequests:
		return false
	default:
		return code >= 400 && code < 500
	}
}
