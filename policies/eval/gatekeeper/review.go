package gatekeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tidegate.io/tidegate/policies/eval/internal/document"
)

// errNoOldObject is Gatekeeper's answer to a DELETE that does not say what is deleted.
var errNoOldObject = errors.New("oldObject cannot be nil for DELETE operations")

// Review is one request that is judged. It is converted at most once, when the first
// constraint needs it, and is not safe for use by many at once.
type Review struct {
	// Point is who asks; empty is the webhook.
	Point string
	// Source is SourceOriginal, SourceGenerated or, where it is not known, empty.
	Source string
	// Namespace is that of the object, or nil where it has none or it is not known; the
	// inventory is asked then.
	Namespace *corev1.Namespace
	// Time is what time.now_ns says; zero is the time of the evaluation.
	Time time.Time

	request *admissionv1.AdmissionRequest

	decoded     bool
	object, old part
	review      *ast.Term
	// space is Namespace, converted already; may be nil.
	space *ast.Term
}

// part is one of the two objects of a request.
type part struct {
	present bool
	value   *ast.Term
	facts   *reviewed
	// err is why it cannot be matched.
	err error
}

// NewReview prepares a request. On DELETE the object is the old one. The request must not
// change afterwards.
func NewReview(request *admissionv1.AdmissionRequest) (*Review, error) {
	if request == nil {
		return nil, errors.New("wanted a request, found nothing")
	}
	if request.Operation == admissionv1.Delete {
		if request.OldObject.Raw == nil {
			return nil, errNoOldObject
		}
		copied := *request
		copied.Object = copied.OldObject
		request = &copied
	}
	return &Review{Point: PointWebhook, request: request}, nil
}

// ObjectReview is the review of an object that nobody writes, as Gatekeeper's own tools
// make it: without operation and user.
func ObjectReview(object map[string]any) (*Review, error) {
	raw, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("writing the object as JSON: %w", err)
	}
	read := readPart(raw)
	if read.err != nil {
		return nil, read.err
	}
	facts := read.facts
	request := &admissionv1.AdmissionRequest{
		Kind: metav1.GroupVersionKind{Group: facts.group, Version: facts.version, Kind: facts.kind},
		Name: facts.name, Namespace: facts.namespace,
	}
	request.Object.Raw = raw
	return &Review{Point: PointGator, Source: SourceOriginal, request: request}, nil
}

// decode converts the two objects.
func (r *Review) decode() {
	if r.decoded {
		return
	}
	r.decoded = true
	r.object = readPart(r.request.Object.Raw)
	if r.request.Operation == admissionv1.Delete {
		r.old = r.object
		return
	}
	r.old = readPart(r.request.OldObject.Raw)
}

func readPart(raw []byte) part {
	if raw == nil {
		return part{value: ast.NullTerm()}
	}
	p := part{present: true, value: ast.NullTerm()}
	// Numbers become 64-bit floats, as Gatekeeper has them: they show in messages.
	v, err := document.DecodeFloats(raw)
	if err != nil {
		p.err = errUnread(raw)
		return p
	}
	p.value = ast.NewTerm(v)
	p.facts, p.err = readFacts(v, raw)
	return p
}

// errUnread is Gatekeeper's answer to what is no object.
func errUnread(raw []byte) error {
	return fmt.Errorf("%s: failed to unmarshal gkReview object %s", textRequest, raw)
}

// readFacts reads what matching needs.
func readFacts(v ast.Value, raw []byte) (*reviewed, error) {
	gv, err := schema.ParseGroupVersion(textAt(v, keyAPIVersion))
	kind := textAt(v, keyKind)
	if err != nil || kind == "" {
		return nil, errUnread(raw)
	}
	metadata := valueAt(v, keyMetadata)
	o := &reviewed{
		group: gv.Group, version: gv.Version, kind: kind,
		name: textAt(metadata, keyName), generateName: textAt(metadata, keyGenerateName), namespace: textAt(metadata, keyNamespace),
	}
	// Labels of which one is no string are none, as everywhere in Kubernetes.
	if from, ok := valueAt(metadata, keyLabels).(ast.Object); ok {
		o.labels = make(labels.Set, from.Len())
		from.Until(func(k, v *ast.Term) bool {
			key, _ := k.Value.(ast.String) // it comes from JSON
			value, ok := v.Value.(ast.String)
			o.labels[string(key)] = string(value)
			if !ok {
				o.labels = nil
			}
			return !ok
		})
	}
	return o, nil
}

// valueAt is a field of an object; nil where there is none.
func valueAt(v ast.Value, key *ast.Term) ast.Value {
	object, ok := v.(ast.Object)
	if !ok {
		return nil
	}
	term := object.Get(key)
	if term == nil {
		return nil
	}
	return term.Value
}

// textAt is a field that is a text; empty where there is none.
func textAt(v ast.Value, key *ast.Term) string {
	s, _ := valueAt(v, key).(ast.String)
	return string(s)
}

// matched says whether a constraint is about the request. An error is one of matching,
// with the text that becomes the violation's message.
func (r *Review) matched(m *match, ns *namespaceFacts) (bool, error) {
	if m == nil {
		return true, nil
	}
	r.decode()
	for _, p := range []*part{&r.object, &r.old} {
		if p.err != nil {
			return false, p.err
		}
	}
	if !r.object.present && !r.old.present {
		return false, fmt.Errorf("%s: neither object nor old object are defined", textRequest)
	}
	for _, p := range []*part{&r.object, &r.old} {
		if !p.present {
			continue
		}
		ok, err := m.matches(p.facts, ns, r.Source)
		if err != nil {
			return false, fmt.Errorf("%s: %s :%s: %w", textMatching, p.facts.name, textMatch, err)
		}
		if ok {
			return true, nil
		}
	}
	return false, nil
}

// namespaceFacts returns what is known of the request's namespace.
func (r *Review) namespaceFacts(s *snapshot) *namespaceFacts {
	if r.Namespace != nil {
		return &namespaceFacts{name: r.Namespace.Name, labels: r.Namespace.Labels}
	}
	if r.request.Namespace == "" {
		return nil
	}
	if facts, ok := s.namespaces[r.request.Namespace]; ok {
		return &facts
	}
	return nil
}

// Keys of what is made for every review.
var (
	keyReview             = ast.StringTerm("review")
	keyParameters         = ast.StringTerm("parameters")
	keyAPIVersion         = ast.StringTerm("apiVersion")
	keyMetadata           = ast.StringTerm("metadata")
	keyLabels             = ast.StringTerm("labels")
	keyGenerateName       = ast.StringTerm("generateName")
	keyUID                = ast.StringTerm("uid")
	keyKind               = ast.StringTerm("kind")
	keyResource           = ast.StringTerm("resource")
	keyOperation          = ast.StringTerm("operation")
	keyUserInfo           = ast.StringTerm("userInfo")
	keyObject             = ast.StringTerm("object")
	keyOldObject          = ast.StringTerm("oldObject")
	keyOptions            = ast.StringTerm("options")
	keyNamespaceObject    = ast.StringTerm("namespaceObject")
	keySubResource        = ast.StringTerm("subResource")
	keyRequestSubResource = ast.StringTerm("requestSubResource")
	keyName               = ast.StringTerm("name")
	keyNamespace          = ast.StringTerm("namespace")
	keyRequestKind        = ast.StringTerm("requestKind")
	keyRequestResource    = ast.StringTerm("requestResource")
	keyDryRun             = ast.StringTerm("dryRun")
	keyGroup              = ast.StringTerm("group")
	keyVersion            = ast.StringTerm("version")
	keyUsername           = ast.StringTerm("username")
	keyGroups             = ast.StringTerm("groups")
	keyExtra              = ast.StringTerm("extra")
	noObject              = ast.ObjectTerm()
)

// prepare converts the request, unless that was done.
func (r *Review) prepare() error {
	if r.review != nil {
		return nil
	}
	r.decode()
	v, err := r.convert()
	if err != nil {
		return fmt.Errorf("converting the request: %w", err)
	}
	r.review = ast.NewTerm(v)
	return nil
}

// input is the document of one constraint. Everything but the parameters is shared by all.
// The review must be prepared.
func (r *Review) input(parameters *ast.Term) *ast.Term {
	return ast.ObjectTerm([2]*ast.Term{keyReview, r.review}, [2]*ast.Term{keyParameters, parameters})
}

// convert writes the request as Gatekeeper does: the JSON of an AdmissionRequest, and the
// namespace, which is an empty object where there is none.
func (r *Review) convert() (ast.Value, error) {
	q := r.request
	namespace := r.space
	if namespace == nil {
		var err error
		if namespace, err = namespaceTerm(r.Namespace); err != nil {
			return nil, err
		}
	}
	options := readPart(q.Options.Raw)
	user, err := userTerm(q.UserInfo)
	if err != nil {
		return nil, err
	}
	o := ast.NewObject(
		ast.Item(keyUID, ast.StringTerm(string(q.UID))),
		ast.Item(keyKind, kindTerm(q.Kind.Group, q.Kind.Version, keyKind, q.Kind.Kind)),
		ast.Item(keyResource, kindTerm(q.Resource.Group, q.Resource.Version, keyResource, q.Resource.Resource)),
		ast.Item(keyOperation, ast.StringTerm(string(q.Operation))),
		ast.Item(keyUserInfo, user),
		ast.Item(keyObject, r.object.value),
		ast.Item(keyOldObject, r.old.value),
		ast.Item(keyOptions, options.value),
		ast.Item(keyNamespaceObject, namespace),
	)
	for _, s := range []struct {
		key   *ast.Term
		value string
	}{{keySubResource, q.SubResource}, {keyRequestSubResource, q.RequestSubResource}, {keyName, q.Name}, {keyNamespace, q.Namespace}} {
		if s.value != "" {
			o.Insert(s.key, ast.StringTerm(s.value))
		}
	}
	if k := q.RequestKind; k != nil {
		o.Insert(keyRequestKind, kindTerm(k.Group, k.Version, keyKind, k.Kind))
	}
	if k := q.RequestResource; k != nil {
		o.Insert(keyRequestResource, kindTerm(k.Group, k.Version, keyResource, k.Resource))
	}
	if q.DryRun != nil {
		o.Insert(keyDryRun, ast.BooleanTerm(*q.DryRun))
	}
	return o, nil
}

func kindTerm(group, version string, key *ast.Term, value string) *ast.Term {
	return ast.ObjectTerm(
		ast.Item(keyGroup, ast.StringTerm(group)),
		ast.Item(keyVersion, ast.StringTerm(version)),
		ast.Item(key, ast.StringTerm(value)),
	)
}

func userTerm(u authenticationv1.UserInfo) (*ast.Term, error) {
	o := ast.NewObject()
	if u.Username != "" {
		o.Insert(keyUsername, ast.StringTerm(u.Username))
	}
	if u.UID != "" {
		o.Insert(keyUID, ast.StringTerm(u.UID))
	}
	if len(u.Groups) > 0 {
		groups, err := ast.InterfaceToValue(u.Groups)
		if err != nil {
			return nil, err
		}
		o.Insert(keyGroups, ast.NewTerm(groups))
	}
	if len(u.Extra) > 0 {
		extra := ast.NewObject()
		for key, values := range u.Extra {
			v, err := ast.InterfaceToValue([]string(values))
			if err != nil {
				return nil, err
			}
			extra.Insert(ast.StringTerm(key), ast.NewTerm(v))
		}
		o.Insert(keyExtra, ast.NewTerm(extra))
	}
	return ast.NewTerm(o), nil
}

// namespaceTerm converts a Namespace. Where none is known it is an empty object.
func namespaceTerm(ns *corev1.Namespace) (*ast.Term, error) {
	if ns == nil {
		return noObject, nil
	}
	raw, err := json.Marshal(ns)
	if err != nil {
		return nil, fmt.Errorf("writing the namespace as JSON: %w", err)
	}
	p := readPart(raw)
	return p.value, nil
}
