package gates

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ReasonShared is: the built-in controllers share one identity.
const ReasonShared = "TG-GATE-SHARED"

// SharedMessage says so to people.
const SharedMessage = "wanted each built-in controller with an identity of its own, found none of their ServiceAccounts in kube-system: " +
	"kube-controller-manager runs without --use-service-account-credentials, and what its controllers do in governed namespaces is refused"

// SharedIdentity says whether the built-in controllers share one identity. A controller
// manager that gives each its own makes a ServiceAccount for each when it starts.
func SharedIdentity(live client.Reader) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		for _, name := range []string{"deployment-controller", "replicaset-controller"} {
			var account corev1.ServiceAccount
			err := live.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: name}, &account)
			if apierrors.IsNotFound(err) {
				return true, nil
			}
			if err != nil {
				return false, fmt.Errorf("looking for the identity of %s: %w", name, err)
			}
		}
		return false, nil
	}
}
