// Package fence reads from the manager's cache and never gives out anything older than what
// this process has written.
//
// A cache follows the API server by some milliseconds. Of what others write that is no
// different from their writing some milliseconds later, and each write that must not rest
// on an old world is conditional on the resource version that the decision rested on. Of what
// this process has written itself it would be: it would undo, or repeat, what it has just
// done. So the version of each own write is remembered, and a read that the cache answers
// with an older one goes to the API server. What the cache does not know of is asked of the
// API server as well, since the cache keeps only what has Tidegate's label; see Absence for
// who need not be that careful.
package fence

import (
	"context"
	"fmt"

	lru "github.com/hashicorp/golang-lru/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// remembered bounds how many own writes are remembered. A cache that is thousands of writes
// behind is broken; forgetting then costs a write that is repeated or refused.
const remembered = 16384

// Client writes through, and reads as the package says.
type Client struct {
	client.Client
	live client.Reader
	kept map[schema.GroupVersionKind]bool
	own  *lru.Cache[object, write]
}

type object struct {
	kind schema.GroupVersionKind
	key  client.ObjectKey
}

// write is the last own write of an object: the version that it led to, or the object that
// it deleted.
type write struct {
	version string
	deleted types.UID
}

// New makes a Client. cached writes to the API server and reads from the cache; live reads from
// the API server. Of the kinds of the objects given, which the scheme of cached must know, the
// cache is asked; others are read live.
func New(cached client.Client, live client.Reader, kinds ...client.Object) (*Client, error) {
	own, err := lru.New[object, write](remembered)
	if err != nil {
		return nil, fmt.Errorf("making the memory of own writes: %w", err)
	}
	c := &Client{Client: cached, live: live, kept: map[schema.GroupVersionKind]bool{}, own: own}
	for _, kind := range kinds {
		gvk, err := apiutil.GVKForObject(kind, cached.Scheme())
		if err != nil {
			return nil, fmt.Errorf("finding the kind of %T: %w", kind, err)
		}
		c.kept[gvk] = true
	}
	return c, nil
}

// Live reads from the API server.
func (c *Client) Live() client.Reader { return c.live }

// Absence is what is taken for absent when the cache does not have it.
type Absence int

const (
	// Asked is: nothing; the API server is asked. For who writes when something is not there.
	Asked Absence = iota
	// OwnDeletions is: what this process has deleted, and the cache has seen going.
	OwnDeletions
	// Believed is: all but what this process has made. What is without Tidegate's label counts as
	// absent too, so it is for deciding whether to look closer.
	Believed
)

// Reader reads as c does, but for what is taken for absent.
func (c *Client) Reader(absence Absence) client.Reader { return reader{c, absence} }

type reader struct {
	*Client
	absence Absence
}

// Get implements client.Reader.
func (r reader) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	return r.get(ctx, key, obj, r.absence, opts)
}

// gone says whether what the cache does not have is absent.
func (c *Client) gone(o object, absence Absence) bool {
	w, written := c.own.Get(o)
	if written {
		return absence != Asked && w.deleted != ""
	}
	return absence == Believed
}

// Get implements client.Reader.
func (c *Client) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	return c.get(ctx, key, obj, Asked, opts)
}

func (c *Client) get(ctx context.Context, key client.ObjectKey, obj client.Object, absence Absence, opts []client.GetOption) error {
	gvk, err := apiutil.GVKForObject(obj, c.Scheme())
	if err != nil {
		return fmt.Errorf("finding the kind of %T: %w", obj, err)
	}
	if !c.kept[gvk] {
		return c.live.Get(ctx, key, obj, opts...) //nolint:wrapcheck // as the client has it
	}
	into, bare := obj, (*unstructured.Unstructured)(nil)
	if u, ok := obj.(*unstructured.Unstructured); ok {
		if into, err = c.typed(gvk); err != nil {
			return err
		}
		bare = u
	}
	switch err := c.Client.Get(ctx, key, into, opts...); {
	case apierrors.IsNotFound(err) && c.gone(object{gvk, key}, absence):
		return err //nolint:wrapcheck // as the client has it
	case apierrors.IsNotFound(err):
		return c.live.Get(ctx, key, obj, opts...) //nolint:wrapcheck // as the client has it
	case err != nil:
		return err //nolint:wrapcheck // as the client has it
	case c.behind(object{gvk, key}, into):
		return c.live.Get(ctx, key, obj, opts...) //nolint:wrapcheck // as the client has it
	case bare == nil:
		return nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(into)
	if err != nil {
		return fmt.Errorf("decoding %s %s: %w", gvk.Kind, key, err)
	}
	bare.Object = content
	bare.SetGroupVersionKind(gvk)
	return nil
}

func (c *Client) typed(gvk schema.GroupVersionKind) (client.Object, error) {
	made, err := c.Scheme().New(gvk)
	if err != nil {
		return nil, fmt.Errorf("making a %s: %w", gvk.Kind, err)
	}
	into, ok := made.(client.Object)
	if !ok {
		return nil, fmt.Errorf("making a %s: %T is no object", gvk.Kind, made)
	}
	return into, nil
}

// behind says whether the cache has not come to an own write of an object yet.
func (c *Client) behind(o object, cached client.Object) bool {
	w, written := c.own.Get(o)
	if !written {
		return false
	}
	if w.deleted != "" {
		if cached.GetUID() == w.deleted && cached.GetDeletionTimestamp() == nil {
			return true
		}
	} else if order, err := resourceversion.CompareResourceVersion(cached.GetResourceVersion(), w.version); err != nil || order < 0 {
		return true
	}
	c.own.Remove(o)
	return false
}

// List implements client.Reader. Where one of the objects is older than an own write, all
// are read live. Objects that this process has created may be missing for a moment.
func (c *Client) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	gvk, err := apiutil.GVKForObject(list, c.Scheme())
	if err != nil {
		return fmt.Errorf("finding the kind of %T: %w", list, err)
	}
	gvk.Kind = gvk.Kind[:max(0, len(gvk.Kind)-len("List"))]
	if _, bare := list.(runtime.Unstructured); bare || !c.kept[gvk] {
		return c.live.List(ctx, list, opts...) //nolint:wrapcheck // as the client has it
	}
	if err := c.Client.List(ctx, list, opts...); err != nil {
		return err //nolint:wrapcheck // as the client has it
	}
	behind := false
	err = meta.EachListItem(list, func(item runtime.Object) error {
		if o, ok := item.(client.Object); ok {
			behind = behind || c.behind(object{gvk, client.ObjectKeyFromObject(o)}, o)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("going through a list of %s: %w", gvk.Kind, err)
	}
	if behind {
		return c.live.List(ctx, list, opts...) //nolint:wrapcheck // as the client has it
	}
	return nil
}

// wrote remembers an own write that went through.
func (c *Client) wrote(obj client.Object, err error) error {
	if err != nil {
		return err
	}
	gvk, kindErr := apiutil.GVKForObject(obj, c.Scheme())
	if kindErr == nil && c.kept[gvk] && obj.GetResourceVersion() != "" {
		c.own.Add(object{gvk, client.ObjectKeyFromObject(obj)}, write{version: obj.GetResourceVersion()})
	}
	return nil
}

// Create implements client.Writer.
func (c *Client) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	return c.wrote(obj, c.Client.Create(ctx, obj, opts...))
}

// Update implements client.Writer.
func (c *Client) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	return c.wrote(obj, c.Client.Update(ctx, obj, opts...))
}

// Patch implements client.Writer.
func (c *Client) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	return c.wrote(obj, c.Client.Patch(ctx, obj, patch, opts...))
}

// Apply implements client.Writer.
func (c *Client) Apply(ctx context.Context, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	err := c.Client.Apply(ctx, obj, opts...)
	if o, ok := obj.(client.Object); ok { // what is made of unstructured content is, and has what was answered
		return c.wrote(o, err)
	}
	return err //nolint:wrapcheck // as the client has it
}

// Delete implements client.Writer.
func (c *Client) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	err := c.Client.Delete(ctx, obj, opts...)
	gvk, kindErr := apiutil.GVKForObject(obj, c.Scheme())
	if err == nil && kindErr == nil && c.kept[gvk] {
		c.own.Add(object{gvk, client.ObjectKeyFromObject(obj)}, write{deleted: obj.GetUID()})
	}
	return err //nolint:wrapcheck // as the client has it
}

// Status implements client.StatusClient.
func (c *Client) Status() client.SubResourceWriter {
	return statusWriter{c.Client.Status(), c}
}

type statusWriter struct {
	client.SubResourceWriter
	c *Client
}

// Update implements client.SubResourceWriter.
func (s statusWriter) Update(ctx context.Context, obj client.Object, opts ...client.SubResourceUpdateOption) error {
	return s.c.wrote(obj, s.SubResourceWriter.Update(ctx, obj, opts...))
}

// Patch implements client.SubResourceWriter.
func (s statusWriter) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	return s.c.wrote(obj, s.SubResourceWriter.Patch(ctx, obj, patch, opts...))
}
