package hook

import (
	"context"
	"crypto/x509"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"tidegate.io/tidegate/rollout/outbound"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// keys reads what a call is signed with; none where it is not signed. Only Secrets that are
// for anything are used: credentials of accounts, and what Kubernetes or Helm keep, sign
// nothing.
func (c *Caller) keys(ctx context.Context, ref *v1alpha1.KeyReference) ([][]byte, *outcome) {
	if ref == nil {
		return nil, nil
	}
	secret, value, problem := c.secret(ctx, "secretRef", ref)
	if problem != nil {
		return nil, problem
	}
	if secret.Type != corev1.SecretTypeOpaque && secret.Type != "" {
		return nil, again("secretRef: wanted the Secret %s/%s to be of type Opaque, found %s; make one for hooks", c.opts.Namespace, ref.Name, secret.Type)
	}
	keys, err := outbound.Keys(string(value))
	if err != nil {
		return nil, again("secretRef: key %s of the Secret %s/%s: %v", ref.Key, c.opts.Namespace, ref.Name, err)
	}
	return keys, nil
}

// authorities reads whom the server's certificate may be signed by; nil are the system's.
func (c *Caller) authorities(ctx context.Context, ref *v1alpha1.KeyReference) (*x509.CertPool, *outcome) {
	if ref == nil {
		return nil, nil
	}
	_, value, problem := c.secret(ctx, "caSecretRef", ref)
	if problem != nil {
		return nil, problem
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(value) {
		return nil, again("caSecretRef: wanted certificates in PEM in key %s of the Secret %s/%s, found none that can be read; put the authority's certificate there",
			ref.Key, c.opts.Namespace, ref.Name)
	}
	return pool, nil
}

// secret reads one key of a Secret. One that is missing may come.
func (c *Caller) secret(ctx context.Context, field string, ref *v1alpha1.KeyReference) (*corev1.Secret, []byte, *outcome) {
	at := types.NamespacedName{Namespace: c.opts.Namespace, Name: ref.Name}
	var secret corev1.Secret
	switch err := c.opts.Secrets.Get(ctx, at, &secret); {
	case apierrors.IsNotFound(err):
		return nil, nil, again("%s: there is no Secret %s; create it with the key %s", field, at, ref.Key)
	case err != nil:
		return nil, nil, again("%s: the Secret %s could not be read; see that the manager may get it", field, at)
	}
	value := secret.Data[ref.Key]
	if len(value) == 0 {
		return nil, nil, again("%s: wanted the key %s in the Secret %s, found nothing; add it", field, ref.Key, at)
	}
	return &secret, value, nil
}
