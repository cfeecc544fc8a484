package gates

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// ReasonGuard is: somebody else than an administrator of Tidegate writes what it rests on.
// The guards that say so are in the chart, so that they stand before the manager does.
const ReasonGuard = "TG-GUARD"

const (
	// DefaultChart is the name of the ConfigMap that Loop.Chart names.
	DefaultChart = "tidegate-standing"
	chartKey     = "standing.yaml"
	// chartPrefix is how the names of the chart's own policies begin.
	chartPrefix = "tidegate-"
)

// chartKinds are the kinds that no policy and no webhook is shown the writes of, and so
// the ones that have to be put back.
var chartKinds = []string{
	"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding",
}

// restore puts the chart's own policies back as the chart says. The ConfigMap is read from
// the API server and not from a cache: when the chart is uninstalled it goes first, and
// then nothing may come back.
func (l *Loop) restore(ctx context.Context) error {
	if l.Chart.Name == "" {
		return nil
	}
	var standing corev1.ConfigMap
	if err := l.Live.Get(ctx, l.Chart, &standing); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("reading the chart's policies: %w", err)
	}
	objects, err := ChartObjects(&standing)
	if err != nil {
		return fmt.Errorf("reading the chart's policies in ConfigMap %s: %w", l.Chart, err)
	}
	for _, want := range objects {
		if err := l.restoreOne(ctx, want); err != nil {
			return err
		}
	}
	return nil
}

// ChartObjects reads the chart's policies, and takes nothing from the ConfigMap but what it
// is for: whoever writes it must not have the manager write for them.
func ChartObjects(standing *corev1.ConfigMap) ([]*unstructured.Unstructured, error) {
	// Helm knows its own objects by these.
	annotations := map[string]string{}
	for _, k := range []string{"meta.helm.sh/release-name", "meta.helm.sh/release-namespace"} {
		if v, ok := standing.Annotations[k]; ok {
			annotations[k] = v
		}
	}
	var out []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(standing.Data[chartKey])), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if len(o.Object) == 0 {
			continue
		}
		if o.GetAPIVersion() != admissionregistrationv1.SchemeGroupVersion.String() || !slices.Contains(chartKinds, o.GetKind()) ||
			!strings.HasPrefix(o.GetName(), chartPrefix) || strings.HasPrefix(o.GetName(), prefix) {
			return nil, fmt.Errorf("wanted admission policies of the chart, found %s %s %q", o.GetAPIVersion(), o.GetKind(), o.GetName())
		}
		o.SetAnnotations(annotations)
		out = append(out, o)
	}
}

// restoreOne replaces what stands where its spec differs. Labels and annotations are left
// as they are: Helm keeps its own there.
func (l *Loop) restoreOne(ctx context.Context, want *unstructured.Unstructured) error {
	what := fmt.Sprintf("%s %q of the chart", want.GetKind(), want.GetName())
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(want.GroupVersionKind())
	err := l.Live.Get(ctx, client.ObjectKeyFromObject(want), live)
	switch {
	case apierrors.IsNotFound(err):
		if err := l.Client.Create(ctx, want, client.FieldOwner(v1alpha1.FieldManager)); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("putting back %s: %w", what, err)
		}
	case err != nil:
		return fmt.Errorf("reading %s: %w", what, err)
	case SameSpec(want, live):
		return nil
	default:
		live.Object["spec"] = want.Object["spec"]
		if err := l.Client.Update(ctx, live, client.FieldOwner(v1alpha1.FieldManager)); err != nil {
			return fmt.Errorf("putting back %s: %w", what, err)
		}
	}
	ctrl.LoggerFrom(ctx).Info("admission policy of the chart put back", "kind", want.GetKind(), "name", want.GetName())
	return nil
}

// SameSpec compares what two objects ask for.
func SameSpec(a, b *unstructured.Unstructured) bool {
	return equality.Semantic.DeepEqual(spec(a), spec(b))
}

// spec is an object's spec without what is empty, as the API server leaves it out.
func spec(o *unstructured.Unstructured) any {
	return trimmed(o.Object["spec"])
}

func trimmed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if e = trimmed(e); e != nil {
				out[k] = e
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		if len(v) == 0 {
			return nil
		}
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = trimmed(e)
		}
		return out
	}
	return v
}
