package follow

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Wanted says which of a Release's wishes cannot be had.
type Wanted string

const (
	// WantedTemplate is: the template has no revision, or there is no such template.
	WantedTemplate Wanted = "template"
	// WantedRevision is: there is no revision of the number, or it has another digest than
	// the one that is pinned beside it.
	WantedRevision Wanted = "revision"
	// WantedDigest is: no revision has the digest.
	WantedDigest Wanted = "digest"
	// WantedChannel is: the template has no such channel, or what it names is not there.
	WantedChannel Wanted = "channel"
)

// maxNamed bounds how many revisions a message names.
const maxNamed = 10

// NotFoundError is: the revision that a Release asks for is not there. It says what is.
type NotFoundError struct {
	Wanted Wanted
	// Reference is what the Release asks for.
	Reference v1alpha1.TemplateReference
	// TemplateGone is true where there is no ReleaseTemplate of that name.
	TemplateGone bool
	// Revisions are the numbers of the revisions there are, in order.
	Revisions []int64
	// Digest is the digest that the pinned revision has, where that is what does not fit.
	Digest string
	// Channels are the names of the channels there are, in order.
	Channels []string
	// ChannelRevision is what the channel names where that is not there; 0 otherwise.
	ChannelRevision int64
}

// Path is the field of the Release that asks for what is not there.
func (e *NotFoundError) Path() string {
	switch e.Wanted {
	case WantedRevision, WantedDigest, WantedChannel:
		return "spec.template." + string(e.Wanted)
	case WantedTemplate:
	}
	return "spec.template.name"
}

// Error says what was wanted, what there is, and what to do.
func (e *NotFoundError) Error() string {
	name := e.Reference.Name
	switch e.Wanted {
	case WantedRevision:
		if e.Digest != "" {
			return fmt.Sprintf("%s: wanted revision %d of template %q with digest %s, found digest %s; correct one of the two or remove it",
				e.Path(), e.Reference.Revision, name, e.Reference.Digest, e.Digest)
		}
		return fmt.Sprintf("%s: wanted revision %d of template %q, found %s; set it to one that exists or remove it",
			e.Path(), e.Reference.Revision, name, e.numbers())
	case WantedDigest:
		return fmt.Sprintf("%s: wanted a revision of template %q with digest %s, found none among %s; see theirs with: kubectl get templaterevisions -o wide",
			e.Path(), name, e.Reference.Digest, e.numbers())
	case WantedChannel:
		switch {
		case e.TemplateGone:
			return fmt.Sprintf("%s: wanted channel %q of template %q, found that the template is gone; pin one of %s with spec.template.revision instead",
				e.Path(), e.Reference.Channel, name, e.numbers())
		case e.ChannelRevision != 0:
			return fmt.Sprintf("%s: wanted what channel %q of template %q names, revision %d, found %s; ask the platform team to move the channel: kubectl edit releasetemplate %s",
				e.Path(), e.Reference.Channel, name, e.ChannelRevision, e.numbers(), name)
		case len(e.Channels) == 0:
			return fmt.Sprintf("%s: wanted channel %q of template %q, found that it has no channels; remove spec.template.channel",
				e.Path(), e.Reference.Channel, name)
		}
		return fmt.Sprintf("%s: wanted a channel of template %q, one of %s, found %q; set it to one of these or remove it",
			e.Path(), name, strings.Join(e.Channels, ", "), e.Reference.Channel)
	case WantedTemplate:
	}
	if e.TemplateGone {
		text := fmt.Sprintf("%s: wanted the name of a ReleaseTemplate, found %q, which does not exist; see what there is with: kubectl get releasetemplates", e.Path(), name)
		if len(e.Revisions) > 0 {
			text += fmt.Sprintf("; a Release that has used it before may go on with one of %s: spec.template.revision", e.numbers())
		}
		return text
	}
	return fmt.Sprintf("%s: wanted a template with a published revision, found %q, which has none; see why with: kubectl get releasetemplate %s",
		e.Path(), name, name)
}

// numbers names the newest revisions there are.
func (e *NotFoundError) numbers() string {
	shown := e.Revisions[max(0, len(e.Revisions)-maxNamed):]
	words := make([]string, 0, len(shown)+1)
	if len(shown) < len(e.Revisions) {
		words = append(words, "...")
	}
	for _, n := range shown {
		words = append(words, strconv.FormatInt(n, 10))
	}
	if len(words) == 1 {
		return "revision " + words[0]
	}
	return "revisions " + strings.Join(words, ", ")
}

// missing makes the error of a wish, with what there is.
func (c *chooser) missing(wanted Wanted) *NotFoundError {
	ref := c.release.Spec.Template
	e := &NotFoundError{Wanted: wanted, Reference: ref, TemplateGone: c.template == nil}
	for _, r := range c.byName {
		e.Revisions = append(e.Revisions, r.Spec.Number)
		if wanted == WantedRevision && r.Spec.Number == ref.Revision {
			e.Digest = r.Spec.Digest
		}
	}
	slices.Sort(e.Revisions)
	if c.template != nil {
		for _, channel := range c.template.Spec.Channels {
			e.Channels = append(e.Channels, channel.Name)
			if channel.Name == ref.Channel {
				e.ChannelRevision = channel.Revision
			}
		}
		slices.Sort(e.Channels)
	}
	return e
}
