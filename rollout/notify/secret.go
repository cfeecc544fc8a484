package notify

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/notify/send"
)

// secretsOf reads keys of one Secret of the manager's namespace.
func (n *Notifier) secretsOf(name string) send.Secrets {
	return SecretsOf(n.opts.Secrets, n.opts.Namespace, name, "the manager")
}

// SecretsOf reads keys of one Secret of a namespace, each time anew, so that one that was
// rotated counts from then on. Only Secrets that are for anything are read: the credentials of
// accounts, and other kinds that Kubernetes or Helm keep, stay where they are. reader is who reads them, for messages.
func SecretsOf(from client.Reader, namespace, name, reader string) send.Secrets {
	at := types.NamespacedName{Namespace: namespace, Name: name}
	return func(ctx context.Context, key string) (string, error) {
		var secret corev1.Secret
		if err := from.Get(ctx, at, &secret); err != nil {
			if apierrors.IsNotFound(err) {
				return "", fmt.Errorf("there is no Secret %s; create it with the key %s", at, key)
			}
			return "", fmt.Errorf("the Secret %s could not be read; see that %s may get it", at, reader)
		}
		if secret.Type != corev1.SecretTypeOpaque && secret.Type != "" {
			return "", fmt.Errorf("wanted the Secret %s to be of type Opaque, found %s; make one for notifications", at, secret.Type)
		}
		value := strings.TrimSpace(string(secret.Data[key]))
		if value == "" {
			return "", fmt.Errorf("wanted the key %s in the Secret %s, found nothing; add it", key, at)
		}
		return value, nil
	}
}
