package webhook

import (
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"tidegate.io/tidegate/webhook/gates"
	"tidegate.io/tidegate/webhook/govern"
)

const (
	certificatesGroup = "certificates.k8s.io"
	signingRequests   = "certificatesigningrequests"
	// accountPrefix is how the user names of ServiceAccounts begin. They log in by token;
	// nobody needs a certificate for one. Nor does the control plane, which has its own from
	// whoever started it.
	accountPrefix = "system:serviceaccount:"
	// nodePrefix is how those of nodes begin, and nodeGroup is their group. There is a signer
	// for them, who sees to it that a node asks for itself.
	nodePrefix = "system:node:"
	nodeGroup  = "system:nodes"
)

// certificate judges the approval of a certificate by which somebody logs in.
func (h *own) certificate(r admission.Request) answer {
	request, refusal := decode[certificatesv1.CertificateSigningRequest]("a CertificateSigningRequest", r.Object.Raw)
	if refusal != nil {
		return *refusal
	}
	if request.Spec.SignerName != certificatesv1.KubeAPIServerClientSignerName {
		return answer{}
	}
	var name string
	var groups []string
	if block, _ := pem.Decode(request.Spec.Request); block != nil {
		parsed, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			return answer{} // No signer can read it either.
		}
		name, groups = parsed.Subject.CommonName, parsed.Subject.Organization
	}
	switch {
	case strings.HasPrefix(name, nodePrefix), slices.Contains(groups, nodeGroup):
		return deny(gates.ReasonGuard, "CertificateSigningRequest %q: wanted a certificate for a person or a program of one's own, found one that says to be the node %q; "+
			"do: have the node ask for it with signerName: %s", request.Name, name, certificatesv1.KubeAPIServerClientKubeletSignerName)
	case !strings.HasPrefix(name, accountPrefix) && !slices.Contains(govern.Programs(), name):
		return answer{}
	}
	return deny(gates.ReasonGuard, "CertificateSigningRequest %q: wanted a certificate for a person or a program of one's own, found one that says to be %q; "+
		"do: have a ServiceAccount log in with a token: kubectl create token; the control plane has its certificates from whoever starts it", request.Name, name)
}
