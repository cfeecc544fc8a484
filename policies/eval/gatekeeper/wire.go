package gatekeeper

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// What a webhook that judges by constraints and those who test it say to each other.
const (
	// WebhookPath is where the webhook answers.
	WebhookPath = "/gatekeeper"
	// OfferPath is below it, where a server for tests takes cases.
	OfferPath = "cases"
	// AnnotationViolations is the audit annotation with all violations, whatever their
	// actions, as a list of Reported.
	AnnotationViolations = "violations"
	// HeaderAsks names a constraint, Kind/Name, of which HeaderServes then says the digest,
	// so that a test knows that it tests the right thing.
	HeaderAsks   = "Tidegate-Asks"
	HeaderServes = "Tidegate-Serves"
)

// Reported is a violation in AnnotationViolations.
type Reported struct {
	// Constraint is Kind/Name.
	Constraint string   `json:"constraint"`
	Actions    []string `json:"actions"`
	Message    string   `json:"message"`
}

// Offer is a case for a server for tests: what it is to judge by.
type Offer struct {
	Template   map[string]any   `json:"template"`
	Constraint map[string]any   `json:"constraint"`
	Inventory  []map[string]any `json:"inventory,omitempty"`
}

// ID is the name of an offer, by its content.
func (Offer) ID(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Digest tells two versions of a constraint apart, or of its template's code.
func (c *Constraint) Digest() string {
	content := struct {
		Key    Key
		Spec   any
		Broken bool
		Rego   RegoSource
		CEL    json.RawMessage
	}{Key: c.key, Broken: c.broken != nil}
	if c.object != nil {
		content.Spec = c.object.Object["spec"]
	}
	if c.template != nil {
		content.Rego, content.CEL = c.template.source, c.template.celSource
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return "" // it is JSON that was read
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Find returns the constraint in force with this key, or nil.
func (s *Set) Find(key Key) *Constraint {
	for _, c := range s.all {
		if c.key == key {
			return c
		}
	}
	return nil
}
