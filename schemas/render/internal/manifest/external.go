package manifest

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// externalSecret is an ExternalSecret of external-secrets.io/v1 as far as it is checked
// here: its Go types would bring the whole operator along. What is opaque is checked by
// the API server, where its CRD is installed.
type externalSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              externalSecretSpec `json:"spec"`
}

type externalSecretSpec struct {
	SecretStoreRef  storeRef         `json:"secretStoreRef"`
	Target          secretTarget     `json:"target"`
	RefreshPolicy   string           `json:"refreshPolicy"`
	RefreshInterval *metav1.Duration `json:"refreshInterval"`
	Data            []secretData     `json:"data"`
	DataFrom        []map[string]any `json:"dataFrom"`
}

type storeRef struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
}

type secretTarget struct {
	Name           string         `json:"name"`
	CreationPolicy string         `json:"creationPolicy"`
	DeletionPolicy string         `json:"deletionPolicy"`
	Immutable      bool           `json:"immutable"`
	Template       map[string]any `json:"template"`
}

type secretData struct {
	SecretKey string         `json:"secretKey"`
	RemoteRef remoteRef      `json:"remoteRef"`
	SourceRef map[string]any `json:"sourceRef"`
}

type remoteRef struct {
	Key                string `json:"key"`
	Property           string `json:"property"`
	Version            string `json:"version"`
	ConversionStrategy string `json:"conversionStrategy"`
	DecodingStrategy   string `json:"decodingStrategy"`
	MetadataPolicy     string `json:"metadataPolicy"`
	NullBytePolicy     string `json:"nullBytePolicy"`
}

// externalSecrets checks that each names where its secret comes from, and makes a Secret
// that cannot be mistaken for another Release's.
func (r *Rendered) externalSecrets() {
	for _, o := range r.Shared {
		s, ok := o.typed.(*externalSecret)
		if !ok {
			continue
		}
		if s.Spec.SecretStoreRef.Name == "" {
			r.failf(o, "wanted the name of a store in spec.secretStoreRef, found none")
		}
		if len(s.Spec.Data) == 0 && len(s.Spec.DataFrom) == 0 {
			r.failf(o, "wanted at least one reference in spec.data or spec.dataFrom, found none")
		}
		for i, d := range s.Spec.Data {
			if d.SecretKey == "" || d.RemoteRef.Key == "" {
				r.failf(o, "wanted secretKey and remoteRef.key in spec.data[%d], found %q and %q", i, d.SecretKey, d.RemoteRef.Key)
			}
		}
		if name := s.Spec.Target.Name; name != "" && !r.ours(name) {
			r.failf(o, "wanted spec.target.name to be %s, or to begin with it and a dash, so that Releases keep out of each other's way, found %q", r.release.Name, name)
		}
	}
}
