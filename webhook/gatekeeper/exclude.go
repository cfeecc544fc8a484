package gatekeeper

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"tidegate.io/tidegate/policies/eval/gatekeeper"
)

// gatekeeperNamespace is where Gatekeeper reads its Config.
const gatekeeperNamespace = "gatekeeper-system"

// exclude reads which namespaces a Config leaves out. Whoever may write one in another
// namespace must not be able to leave any out.
func (l *Loader) exclude(ctx context.Context, name types.NamespacedName) error {
	if name.Name != "config" || (name.Namespace != l.namespace && name.Namespace != gatekeeperNamespace) {
		return nil
	}
	u := object(configKind)
	var list []gatekeeper.Exclusion
	switch err := l.client.Get(ctx, name, u); {
	case apierrors.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("reading Config %s: %w", name, err)
	default:
		// One that cannot be read leaves nothing out.
		if list, err = gatekeeper.Exclusions(u); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Config leaves no namespace out", "namespace", name.Namespace)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if reflect.DeepEqual(l.excluded[name.Namespace], list) {
		return nil
	}
	l.excluded[name.Namespace] = list
	var all []gatekeeper.Exclusion
	for _, one := range l.excluded {
		all = append(all, one...)
	}
	l.store.Exclude(all)
	// What is in the inventory may be left out now, and what is not may not: it is read anew.
	var problems []error
	for gvk := range l.watched {
		if gvk.Group != gatekeeper.ConstraintGroup {
			problems = append(problems, l.forget(ctx, gvk))
			l.store.Inventory().DeleteKind(gvk)
		}
	}
	return errors.Join(problems...)
}
