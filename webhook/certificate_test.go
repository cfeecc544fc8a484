package webhook

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/webhook/gates"
)

// TestCertificate has whom a certificate may name when somebody approves it.
func TestCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const client = certificatesv1.KubeAPIServerClientSignerName
	for sentence, tc := range map[string]struct {
		name, group, signer string
		denied              bool
	}{
		"a person":                          {"dana", "", client, false},
		"a person of a team":                {"dana", "team", client, false},
		"the manager":                       {"system:serviceaccount:tidegate-system:tidegate-manager", "", client, true},
		"any ServiceAccount":                {"system:serviceaccount:shop:cart", "", client, true},
		"the controller manager":            {"system:kube-controller-manager", "", client, true},
		"the scheduler":                     {"system:kube-scheduler", "", client, true},
		"the API server":                    {"system:apiserver", "", client, true},
		"a node, by its signer":             {"system:node:n1", "system:nodes", certificatesv1.KubeAPIServerClientKubeletSignerName, false},
		"a node, by the signer of people":   {"system:node:n1", "", client, true},
		"a person in the group of nodes":    {"dana", "system:nodes", client, true},
		"a node in the group of the admins": {"system:node:evil", "cluster-admins", client, true},
		"a server's, of others":             {"system:kube-scheduler", "", "example.com/servers", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: tc.name, Organization: []string{tc.group}}}, key)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(certificatesv1.CertificateSigningRequest{
				ObjectMeta: metav1.ObjectMeta{Name: "mine"},
				Spec: certificatesv1.CertificateSigningRequestSpec{
					SignerName: tc.signer, Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			a := (&own{}).certificate(admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Object: runtime.RawExtension{Raw: raw}}})
			if a.refuses() != tc.denied || (tc.denied && a.code != gates.ReasonGuard) {
				t.Errorf("wanted denied %v, found %q %q", tc.denied, a.code, a.denial)
			}
		})
	}
}
