// Package record saves reviews that were refused, without the secrets that are in them, and
// judges them again later, without a cluster, by the very handlers that refused them.
//
// A [Recorder] stands around the webhook's handlers. It notes what each answer was made of:
// the objects that were read, the policies in force, what RBAC said. An answer that refuses
// is handed to a queue; everything else is forgotten. The queue is bounded and nobody waits
// for it: what does not fit is dropped and counted. Behind it, each record is freed of its
// secrets, judged once more as it then is, and written to a directory that holds so many
// files and bytes and no more.
package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// Format is what a record says it is. Another number means something else.
	Format = "tidegate.io/record/v1"
	// MaxRecord is how large a record may be, in bytes.
	MaxRecord = 32 << 20
	// maxPolicies and maxObjects bound what a record that somebody made may have us do.
	maxPolicies = 500
	maxObjects  = 20_000
)

// Record is one review, what its verdict was made of, and the verdict.
type Record struct {
	// Format is Format.
	Format string `json:"format"`
	// Version is that of the Tidegate which judged.
	Version string `json:"version"`
	// Time is when the request came in; it is what policies and exemptions took for now.
	Time time.Time `json:"time"`
	// Path is the webhook's, such as /gate.
	Path string `json:"path"`
	// Identity is the manager's user name, and ManagerNamespace its namespace.
	Identity         string `json:"identity"`
	ManagerNamespace string `json:"managerNamespace"`
	// Redacted says where secrets were, and why each was taken for one. In the place of each
	// is another text of its length and kind, the same wherever it stood.
	Redacted []string `json:"redacted,omitempty"`
	// RedactedVerdictDiffers is true where the review without its secrets is not judged as the
	// review with them was; RedactedVerdict is then how it is judged, and Difference says it
	// where it could not be.
	RedactedVerdictDiffers bool     `json:"redactedVerdictDiffers"`
	RedactedVerdict        *Verdict `json:"redactedVerdict,omitempty"`
	RedactedError          string   `json:"redactedError,omitempty"`
	// Verdict is the answer that was given.
	Verdict Verdict `json:"verdict"`
	// Review is the AdmissionReview.
	Review json.RawMessage `json:"review"`
	// Objects are those that were read, and Unread the reads that failed. What was looked for
	// and is in neither was not there.
	Objects []json.RawMessage `json:"objects,omitempty"`
	Unread  []Unread          `json:"unread,omitempty"`
	// Policies are those in force that could be about it.
	Policies []Policy `json:"policies,omitempty"`
	// Answers are those of RBAC and of BreakGlasses.
	Answers []Answer `json:"answers,omitempty"`
	// Constraints are Gatekeeper's, where it was they who were asked.
	Constraints *Constraints `json:"constraints,omitempty"`
}

// Verdict is an answer of the webhook.
type Verdict struct {
	Allowed bool `json:"allowed"`
	// Code is the stable one, such as TG-GATE-BYPASS; empty where it is allowed.
	Code string `json:"code,omitempty"`
	// Status is that of HTTP: 403 was decided, 500 could not be.
	Status   int32             `json:"status,omitempty"`
	Message  string            `json:"message,omitempty"`
	Warnings []string          `json:"warnings,omitempty"`
	Audit    map[string]string `json:"auditAnnotations,omitempty"`
}

// Unread is a read that failed.
type Unread struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	// Name is empty for a list.
	Name  string `json:"name,omitempty"`
	Error string `json:"error"`
}

// Policy is one that was in force.
type Policy struct {
	// Digest is that of the whole policy, whose tests are left out here; empty where it could
	// not be evaluated.
	Digest string `json:"digest,omitempty"`
	// DeployPolicy is the policy, with its parameters.
	DeployPolicy *v1alpha1.DeployPolicy `json:"deployPolicy"`
}

// Answer is what somebody besides the policies said.
type Answer struct {
	// Of is what was asked, as JSON: who may do what, or which BreakGlass.
	Of string `json:"of"`
	// Allowed is what RBAC said.
	Allowed bool `json:"allowed,omitempty"`
	// Refused is why a BreakGlass does not hold any more.
	Refused string `json:"refused,omitempty"`
	Error   string `json:"error,omitempty"`
}

// Constraints are Gatekeeper's that could be about a review.
type Constraints struct {
	Templates   []json.RawMessage `json:"templates,omitempty"`
	Constraints []json.RawMessage `json:"constraints,omitempty"`
	// Inventory has the objects that templates could read, if any of them reads it.
	Inventory []json.RawMessage `json:"inventory,omitempty"`
	// InventoryDigest is that of all of it; InventoryLeftOut is true where it was too large.
	InventoryDigest  string `json:"inventoryDigest,omitempty"`
	InventoryLeftOut bool   `json:"inventoryLeftOut,omitempty"`
	// PreferRego is true where templates that have CEL too were asked in Rego.
	PreferRego bool `json:"preferRego,omitempty"`
}

// Encode writes a record.
func (r *Record) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("writing a record: %w", err)
	}
	return b.Bytes(), nil
}

// Decode reads a record that anybody may have made: its size, the number of its parts and
// its fields are checked.
func Decode(in io.Reader) (*Record, error) {
	raw, err := io.ReadAll(io.LimitReader(in, MaxRecord+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading a record: %w", err)
	case len(raw) > MaxRecord:
		return nil, fmt.Errorf("reading a record: wanted at most %d MiB, found more", MaxRecord>>20)
	}
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, fmt.Errorf("reading a record: wanted JSON, found: %w", err)
	}
	if head.Format != Format {
		return nil, fmt.Errorf("reading a record: wanted format %q, found %q; do: replay it with the version of tidegate that wrote it", Format, head.Format)
	}
	r := &Record{}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("reading a record: %w", err)
	}
	if len(bytes.TrimSpace(raw[d.InputOffset():])) > 0 {
		return nil, errors.New("reading a record: wanted one, found something behind it")
	}
	return r, r.bounded()
}

func (r *Record) bounded() error {
	objects := len(r.Objects) + len(r.Unread) + len(r.Answers)
	policies := len(r.Policies)
	if r.Constraints != nil {
		objects += len(r.Constraints.Inventory)
		policies += len(r.Constraints.Templates) + len(r.Constraints.Constraints)
	}
	switch {
	case policies > maxPolicies:
		return fmt.Errorf("reading a record: wanted at most %d policies, found %d", maxPolicies, policies)
	case objects > maxObjects:
		return fmt.Errorf("reading a record: wanted at most %d objects, found %d", maxObjects, objects)
	case len(r.Review) == 0:
		return errors.New("reading a record: wanted a review, found none")
	}
	for i, p := range r.Policies {
		if p.DeployPolicy == nil || p.DeployPolicy.Name == "" {
			return fmt.Errorf("reading a record: policies[%d]: wanted a DeployPolicy with a name, found none", i)
		}
	}
	return nil
}

// verdictOf reads the answer of a webhook; ok is false where it is none.
func verdictOf(body []byte) (v Verdict, ok bool) {
	var review admissionv1.AdmissionReview
	if json.Unmarshal(body, &review) != nil || review.Response == nil {
		return Verdict{}, false
	}
	r := review.Response
	v = Verdict{Allowed: r.Allowed, Warnings: r.Warnings, Audit: r.AuditAnnotations}
	if r.Result != nil {
		v.Status, v.Message = r.Result.Code, r.Result.Message
	}
	if code, _, found := strings.Cut(v.Message, ":"); found && strings.HasPrefix(code, "TG-") {
		v.Code = code
	}
	return v, true
}

// Diff are the lines that tell another verdict from v: those that are gone begin with "- ",
// those that are new with "+ ". There are none where the verdicts are the same.
func (v Verdict) Diff(now Verdict) []string {
	was, is := v.lines(), now.lines()
	var out []string
	for _, l := range was {
		if !slices.Contains(is, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) {
			out = append(out, "+ "+l)
		}
	}
	if len(out) == 0 && !slices.Equal(was, is) {
		out = append(out, "- "+strings.Join(was, "; "), "+ "+strings.Join(is, "; "))
	}
	return out
}

// lines say everything in a verdict.
func (v Verdict) lines() []string {
	out := []string{v.outcome()}
	for l := range strings.SplitSeq(v.Message, "\n") {
		if l != "" {
			out = append(out, l)
		}
	}
	for _, w := range v.Warnings {
		out = append(out, "warning: "+w)
	}
	keys := make([]string, 0, len(v.Audit))
	for k := range v.Audit {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		out = append(out, "audit: "+k+"="+v.Audit[k])
	}
	return out
}

func (v Verdict) outcome() string {
	if v.Allowed {
		return "allowed"
	}
	return fmt.Sprintf("refused (%d)", v.Status)
}

// Outcome is one word, and the code where there is one.
func (v Verdict) Outcome() string {
	switch {
	case v.Allowed:
		return "allowed"
	case v.Code != "":
		return "refused " + v.Code
	}
	return "refused"
}

// kinds are those that the webhook reads.
func kinds() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("making the scheme of records: %w", err)
		}
	}
	return s, nil
}
