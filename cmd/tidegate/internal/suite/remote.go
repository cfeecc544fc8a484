package suite

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"tidegate.io/tidegate/policies/eval/gatekeeper"
)

const (
	remoteTimeout = 30 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 16 << 20
	// remoteUser is who makes the requests.
	remoteUser = "tidegate-policy-verify"
)

// Remote judges by a running webhook. Each case is asked as CREATE and as UPDATE, or as
// what it says itself. The answer must be that of this process to the same review; the
// messages of the first are what the assertions are about.
type Remote struct {
	url    *url.URL
	client *http.Client
	// offers is false once the server was found not to take cases: then it must have their
	// constraints.
	offers bool
}

// NewRemote returns the judge at a URL of https, such as https://host:9443/gatekeeper; caFile
// has the certificates that the server's is checked with, or is empty for the system's.
func NewRemote(address, caFile string) (*Remote, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("wanted a URL such as https://127.0.0.1:9443%s as the server, found %q", gatekeeper.WebhookPath, address)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = gatekeeper.WebhookPath
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, Proxy: nil}
	if caFile != "" {
		pem, err := os.ReadFile(caFile) //nolint:gosec // the user names the file
		if err != nil {
			return nil, fmt.Errorf("reading the certificates of the server: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the certificates of the server: wanted PEM in %s, found none", caFile)
		}
	}
	return &Remote{url: u, client: &http.Client{Transport: transport, Timeout: remoteTimeout}, offers: true}, nil
}

// Judge implements Judge.
func (r *Remote) Judge(ctx context.Context, s *Subject) ([]string, error) {
	at, err := r.place(ctx, s)
	if err != nil {
		return nil, err
	}
	if source, _, _ := unstructured.NestedString(s.Constraint.Object, "spec", "match", "source"); source == gatekeeper.SourceGenerated && s.expansion != nil {
		return nil, errors.New("wanted a constraint about what requests bring, found one with match.source Generated; run it without --server")
	}
	found, err := r.compare(ctx, at, s)
	if err != nil || s.expansion == nil || s.Object == nil {
		return Messages(found), err
	}
	generated, err := s.expansion.Expand(s.Object)
	if err != nil {
		return nil, err
	}
	// What the object is made into is reviewed when it is made, each by a request of its own.
	for _, g := range generated {
		one := *s
		one.Object = g.Object
		implied, err := r.compare(ctx, at, &one)
		if err != nil {
			return nil, fmt.Errorf("expanding %s: %w", s.Object.GetName(), err)
		}
		found = append(found, g.Imply(implied)...)
	}
	return Messages(found), nil
}

// compare asks each request of a case here and there, and returns what is said of the first.
func (r *Remote) compare(ctx context.Context, at *url.URL, s *Subject) (first []gatekeeper.Violation, err error) {
	for i, request := range s.Requests() {
		here, err := s.Webhook(ctx, request)
		if err != nil {
			return nil, err
		}
		there, err := r.ask(ctx, at, s.compiled, request)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			first = there
		}
		if want, found := Messages(here), Messages(there); !slices.Equal(want, found) {
			return there, fmt.Errorf("as %s: wanted the messages of this program, %q, found those of the server, %q", request.Operation, want, found)
		}
	}
	return first, nil
}

// Webhook judges a full request in this process, as the webhook does.
func (s *Subject) Webhook(ctx context.Context, request *admissionv1.AdmissionRequest) ([]gatekeeper.Violation, error) {
	set, err := s.set()
	if err != nil {
		return nil, err
	}
	review, err := gatekeeper.NewReview(request)
	if err != nil {
		return nil, err
	}
	review.Source = gatekeeper.SourceOriginal
	return set.Judge(ctx, review), nil
}

// Requests are what an API server would send for the case.
func (s *Subject) Requests() []*admissionv1.AdmissionRequest {
	if s.Request != nil {
		return []*admissionv1.AdmissionRequest{complete(s.Request)}
	}
	raw, err := s.Object.MarshalJSON()
	if err != nil {
		// It was read as JSON.
		raw = []byte("{}")
	}
	create := complete(&admissionv1.AdmissionRequest{
		Operation: admissionv1.Create, Name: s.Object.GetName(), Namespace: s.Object.GetNamespace(),
		Object: runtime.RawExtension{Raw: raw},
	})
	update := *create
	update.UID, update.Operation, update.OldObject = "00000000-0000-0000-0000-000000000002", admissionv1.Update, runtime.RawExtension{Raw: raw}
	update.Options = options("UpdateOptions")
	return []*admissionv1.AdmissionRequest{create, &update}
}

func options(kind string) runtime.RawExtension {
	return runtime.RawExtension{Raw: fmt.Appendf(nil, `{"kind":%q,"apiVersion":"meta.k8s.io/v1","fieldManager":%q}`, kind, remoteUser)}
}

// complete adds what the API server says with every request.
func complete(from *admissionv1.AdmissionRequest) *admissionv1.AdmissionRequest {
	q := *from
	if q.UID == "" {
		q.UID = "00000000-0000-0000-0000-000000000001"
	}
	if q.Operation == "" {
		q.Operation = admissionv1.Create
	}
	var object struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
		} `json:"metadata"`
	}
	for _, raw := range [][]byte{q.Object.Raw, q.OldObject.Raw} {
		if raw != nil && json.Unmarshal(raw, &object) == nil {
			break
		}
	}
	gvk := object.GroupVersionKind()
	if q.Kind.Kind == "" {
		q.Kind = metav1.GroupVersionKind(gvk)
	}
	if q.Resource.Resource == "" {
		plural, _ := meta.UnsafeGuessKindToResource(gvk)
		q.Resource = metav1.GroupVersionResource(plural)
	}
	if q.RequestKind == nil {
		q.RequestKind = &q.Kind
	}
	if q.RequestResource == nil {
		q.RequestResource = &q.Resource
	}
	if q.Name == "" {
		q.Name = object.Metadata.Name
	}
	if q.Namespace == "" {
		q.Namespace = object.Metadata.Namespace
	}
	if q.UserInfo.Username == "" {
		q.UserInfo = authenticationv1.UserInfo{Username: remoteUser, Groups: []string{"system:authenticated"}}
	}
	if q.DryRun == nil {
		q.DryRun = new(bool)
	}
	if q.Options.Raw == nil {
		kind := string(q.Operation)
		q.Options = options(kind[:1] + strings.ToLower(kind[1:]) + "Options")
	}
	return &q
}

// place offers the case to the server and returns where to ask about it: a place of its
// own, or, where the server takes none, the webhook itself.
func (r *Remote) place(ctx context.Context, s *Subject) (*url.URL, error) {
	if !r.offers {
		return r.url, nil
	}
	offer := gatekeeper.Offer{Template: s.Template.Object, Constraint: s.Constraint.Object}
	for _, u := range s.Inventory {
		offer.Inventory = append(offer.Inventory, u.Object)
	}
	body, err := json.Marshal(offer)
	if err != nil {
		return nil, fmt.Errorf("writing the case as JSON: %w", err)
	}
	at := r.url.JoinPath(gatekeeper.OfferPath, offer.ID(body))
	status, answer, _, err := r.send(ctx, http.MethodPut, at, nil, body)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNoContent:
		return at, nil
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		r.offers = false
		return r.url, nil
	default:
		return nil, fmt.Errorf("the server refused the case: %d %s", status, bytes.TrimSpace(answer))
	}
}

// ask sends one request and returns the violations of the case's constraint.
func (r *Remote) ask(ctx context.Context, at *url.URL, c *gatekeeper.Constraint, request *admissionv1.AdmissionRequest) ([]gatekeeper.Violation, error) {
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request:  request,
	})
	if err != nil {
		return nil, fmt.Errorf("writing the review as JSON: %w", err)
	}
	status, answer, header, err := r.send(ctx, http.MethodPost, at, http.Header{gatekeeper.HeaderAsks: {c.Key().String()}}, body)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("wanted an AdmissionReview, found %d %s", status, bytes.TrimSpace(answer))
	}
	switch served := header.Get(gatekeeper.HeaderServes); served {
	case c.Digest():
	case "":
		return nil, fmt.Errorf("wanted a server that has %s, found one that has not; apply the template and the constraint, or run: tidegate policy serve", c.Key())
	default:
		return nil, fmt.Errorf("wanted a server that has this very %s, found one that has another version of it or of its template", c.Key())
	}
	return violationsOf(answer, request.UID, c)
}

func violationsOf(answer []byte, uid types.UID, c *gatekeeper.Constraint) ([]gatekeeper.Violation, error) {
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &review); err != nil {
		return nil, fmt.Errorf("reading the answer of the server: %w", err)
	}
	if review.Response == nil || review.Response.UID != uid {
		return nil, errors.New("wanted an answer to the request, found one to another or none")
	}
	text, ok := review.Response.AuditAnnotations[gatekeeper.AnnotationViolations]
	if !ok {
		if !review.Response.Allowed {
			return nil, fmt.Errorf("the server refused the request for another reason: %v", review.Response.Result)
		}
		return nil, nil
	}
	var list []gatekeeper.Reported
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("reading the violations in the answer of the server: %w", err)
	}
	var found []gatekeeper.Violation
	for _, v := range list {
		if v.Constraint == c.Key().String() {
			found = append(found, gatekeeper.Violation{Message: v.Message, Actions: v.Actions})
		}
	}
	return found, nil
}

// send makes one call. An error of it is ErrUnreachable.
func (r *Remote) send(ctx context.Context, method string, at *url.URL, header http.Header, body []byte) (int, []byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	maps.Copy(request.Header, header)
	request.Header.Set("Content-Type", "application/json")
	response, err := r.client.Do(request)
	if err != nil {
		if lost, ok := errors.AsType[*url.Error](err); ok {
			err = lost.Err // the address is what the user gave
		}
		return 0, nil, nil, fmt.Errorf("%w at %s: %w", ErrUnreachable, r.url, err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return response.StatusCode, answer, response.Header, nil
}
