package gatekeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"

	"tidegate.io/tidegate/policies/eval/gatekeeper"
)

const (
	// maxOffer bounds one case, in bytes.
	maxOffer = 8 << 20
	// maxCases is how many are kept.
	maxCases = 64
)

// Cases is a server for tests. Whoever reaches it gives it templates to compile, so it is
// no part of the manager and listens on loopback alone. A case is put at
// /gatekeeper/cases/ID, ID being the SHA-256 of the body; then the very handler of the
// webhook answers there, by this case.
type Cases struct {
	compiler gatekeeper.Compiler
	clock    clock.PassiveClock
	kept     *lru.Cache[string, http.Handler]
}

// NewCases returns a server without cases, which compiles their templates so.
func NewCases(c clock.PassiveClock, compiler gatekeeper.Compiler) (*Cases, error) {
	kept, err := lru.New[string, http.Handler](maxCases)
	if err != nil {
		return nil, fmt.Errorf("setting up the server for cases: %w", err)
	}
	return &Cases{compiler: compiler, clock: c, kept: kept}, nil
}

// ServeHTTP implements http.Handler.
func (s *Cases) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, ok := strings.CutPrefix(r.URL.Path, gatekeeper.WebhookPath+"/"+gatekeeper.OfferPath+"/")
	switch {
	case !ok:
		http.NotFound(w, r)
	case r.Method == http.MethodPut:
		if err := s.put(id, w, r); err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		h, ok := s.kept.Get(id)
		if !ok {
			http.Error(w, "wanted a case that was put here before, found none", http.StatusNotFound)
			return
		}
		h.ServeHTTP(w, r)
	}
}

func (s *Cases) put(id string, w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOffer))
	if err != nil {
		return fmt.Errorf("reading the case: %w", err)
	}
	var offer gatekeeper.Offer
	if id != offer.ID(body) {
		return errors.New("wanted the SHA-256 of the case in the path, found something else")
	}
	u := &unstructured.Unstructured{}
	store := s.compiler.NewStore()
	if err := unmarshal(body, &offer); err != nil {
		return err
	}
	u.Object = offer.Template
	if _, err := store.PutTemplateContext(r.Context(), u); err != nil {
		return err
	}
	if err := store.PutConstraint(&unstructured.Unstructured{Object: offer.Constraint}); err != nil {
		return err
	}
	for _, object := range offer.Inventory {
		if err := store.Inventory().Put(&unstructured.Unstructured{Object: object}); err != nil {
			return fmt.Errorf("inventory: %w", err)
		}
	}
	h, err := New(Options{Store: store, Clock: s.clock})
	if err != nil {
		return err
	}
	s.kept.Add(id, h.HTTP())
	return nil
}

// unmarshal reads integers as such, which encoding/json alone does not.
func unmarshal(body []byte, into *gatekeeper.Offer) error {
	var parts struct {
		Template, Constraint json.RawMessage
		Inventory            []json.RawMessage
	}
	if err := json.Unmarshal(body, &parts); err != nil {
		return fmt.Errorf("decoding the case: %w", err)
	}
	read := func(raw json.RawMessage) (map[string]any, error) {
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON(raw); err != nil {
			return nil, fmt.Errorf("decoding the case: %w", err)
		}
		return u.Object, nil
	}
	var err error
	if into.Template, err = read(parts.Template); err != nil {
		return err
	}
	if into.Constraint, err = read(parts.Constraint); err != nil {
		return err
	}
	for _, raw := range parts.Inventory {
		object, err := read(raw)
		if err != nil {
			return err
		}
		into.Inventory = append(into.Inventory, object)
	}
	return nil
}
