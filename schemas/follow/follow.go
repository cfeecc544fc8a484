// Package follow decides which revision of its template a Release is rendered with. It is
// pure, and the one place where that is decided: admission, the controllers and the CLI
// ask the same function, so that what is judged is what is rolled out.
//
// A Release that pins a revision has that one, and one that follows a channel has what
// the channel names. Every other Release has what the sync of its template has assigned
// to it. Before the sync has got to it, a new Release has what the sync left behind, or
// its target where there is nothing to be careful about.
//
// When the template is deleted a Release keeps what it has. Its revisions are no template
// to begin with: only a pin, which says what is meant, takes one up.
package follow

import (
	"slices"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Why says what led to a Choice.
type Why string

const (
	// Pinned is: the Release pins the revision, by number or digest.
	Pinned Why = "pinned"
	// ByChannel is: the channel that the Release follows names the revision.
	ByChannel Why = "channel"
	// Assigned is: the template's sync gave the revision to the Release.
	Assigned Why = "assigned"
	// Kept is: the Release has the revision, and nobody says that it should have another.
	Kept Why = "kept"
	// Target is: the revision is the one that the sync brings Releases to.
	Target Why = "target"
	// From is: the revision is the one that the sync brings Releases from; its target is
	// for those whose wave has begun.
	From Why = "from"
	// Latest is: the revision is the newest, and there is no sync that says otherwise.
	Latest Why = "latest"
)

// Choice is the revision that a Release is rendered with.
type Choice struct {
	// Revision is an element of the list that was given to Choose.
	Revision *v1alpha1.TemplateRevision
	Why      Why
}

// Choose chooses among the revisions the one that the release is rendered with. Template is
// the ReleaseTemplate that the release names, nil if there is none (any more). Revisions of
// other templates, and those that are being deleted, are passed over. The release is as the
// API server has it or, in admission, as it would be: with its next generation and the
// status that it has. The error is a *NotFoundError.
func Choose(release *v1alpha1.Release, template *v1alpha1.ReleaseTemplate, revisions []v1alpha1.TemplateRevision) (Choice, error) {
	c := chooser{release: release, template: template, byName: map[string]*v1alpha1.TemplateRevision{}}
	for i := range revisions {
		r := &revisions[i]
		if r.Spec.Template == release.Spec.Template.Name && r.DeletionTimestamp == nil {
			c.byName[r.Name] = r
			if c.latest == nil || r.Spec.Number > c.latest.Spec.Number {
				c.latest = r
			}
		}
	}
	ref := release.Spec.Template
	switch {
	case c.latest == nil:
		return Choice{}, c.missing(WantedTemplate)
	case ref.Revision != 0 || ref.Digest != "":
		return c.pinned()
	case ref.Channel != "":
		return c.channel()
	}
	return c.followed()
}

// Free says whether the release leaves it to its template's sync which revision it has.
func Free(release *v1alpha1.Release) bool {
	ref := release.Spec.Template
	return ref.Revision == 0 && ref.Digest == "" && ref.Channel == ""
}

// Passed says whether the sync has brought every wave to its target, also where somebody has
// paused it since.
func Passed(s *v1alpha1.TemplateSyncStatus) bool {
	return s.Phase == v1alpha1.SyncSynced ||
		len(s.Waves) > 0 && !slices.ContainsFunc(s.Waves, func(w v1alpha1.WaveStatus) bool { return w.Phase != v1alpha1.WaveDone })
}

type chooser struct {
	release  *v1alpha1.Release
	template *v1alpha1.ReleaseTemplate
	byName   map[string]*v1alpha1.TemplateRevision
	latest   *v1alpha1.TemplateRevision
}

// pinned is the revision with the number and the digest that the release asks for. Of
// several with one digest it is the oldest, so that a pin does not move.
func (c *chooser) pinned() (Choice, error) {
	ref := c.release.Spec.Template
	var found *v1alpha1.TemplateRevision
	for _, r := range c.byName {
		switch {
		case ref.Revision != 0 && r.Spec.Number != ref.Revision:
		case ref.Digest != "" && r.Spec.Digest != ref.Digest:
		case found == nil || r.Spec.Number < found.Spec.Number:
			found = r
		}
	}
	switch {
	case found != nil:
		return Choice{found, Pinned}, nil
	case ref.Revision == 0:
		return Choice{}, c.missing(WantedDigest)
	}
	return Choice{}, c.missing(WantedRevision)
}

// channel is the revision that the channel names. Without the template nobody says any
// more which one that is, and the release keeps the one it has.
func (c *chooser) channel() (Choice, error) {
	if c.template == nil {
		if has := c.has(); has != nil {
			return Choice{has, Kept}, nil
		}
		return Choice{}, c.missing(WantedChannel)
	}
	for _, channel := range c.template.Spec.Channels {
		if channel.Name != c.release.Spec.Template.Channel {
			continue
		}
		for _, r := range c.byName {
			if r.Spec.Number == channel.Revision {
				return Choice{r, ByChannel}, nil
			}
		}
	}
	return Choice{}, c.missing(WantedChannel)
}

// followed is for a release that leaves the choice to the sync. Without the template it
// keeps what it has; that the newest revision is still kept does not make it one to begin
// with.
func (c *chooser) followed() (Choice, error) {
	if c.template != nil {
		return c.synced(), nil
	}
	if has := c.has(); has != nil {
		return Choice{has, Kept}, nil
	}
	if assigned := c.assigned(); assigned != nil {
		return Choice{assigned, Assigned}, nil
	}
	return Choice{}, c.missing(WantedTemplate)
}

// synced is what the sync of the template means for the release.
func (c *chooser) synced() Choice {
	var target, from *v1alpha1.TemplateRevision
	if s := c.template.Status.Sync; s != nil {
		target, from = c.byName[s.Target], c.byName[s.From]
	}
	manual := c.template.Spec.Sync.Type == v1alpha1.SyncManual
	if assigned := c.assigned(); assigned != nil && (!manual || c.release.Status.Assigned.Generation == c.release.Generation) {
		return Choice{assigned, Assigned}
	}
	// Nothing is assigned to it, or its team has just changed it where that is what moves
	// Releases on.
	has := c.has()
	if has != nil && c.release.Status.ObservedGeneration == c.release.Generation {
		return Choice{has, Kept}
	}
	if manual || c.settled() {
		return c.first(Choice{target, Target}, Choice{has, Kept}, Choice{from, From}, Choice{c.latest, Latest})
	}
	if Passed(c.template.Status.Sync) {
		from = nil // the target is in force; what is paused is the next sync
	}
	return c.first(Choice{has, Kept}, Choice{from, From}, Choice{target, Target}, Choice{c.latest, Latest})
}

// settled says whether the target of the sync is for every Release that asks.
func (c *chooser) settled() bool {
	s := c.template.Status.Sync
	switch {
	case s == nil || s.Phase == v1alpha1.SyncSynced:
		return true
	case s.Phase == v1alpha1.SyncHalted || s.Phase == v1alpha1.SyncPaused:
		return false
	}
	return s.RolledBackFrom != "" || c.template.Spec.Sync.Type != v1alpha1.SyncStaged
}

// has is the revision that the release was last rendered with, or nil.
func (c *chooser) has() *v1alpha1.TemplateRevision {
	return c.byName[c.release.Status.TemplateRevision]
}

// assigned is the revision that the sync gave to the release, or nil. One of another
// template, which the release named before, does not count.
func (c *chooser) assigned() *v1alpha1.TemplateRevision {
	if c.release.Status.Assigned == nil {
		return nil
	}
	return c.byName[c.release.Status.Assigned.Name]
}

// first returns the first choice whose revision is there. The last one's always is.
func (c *chooser) first(choices ...Choice) Choice {
	for _, choice := range choices {
		if choice.Revision != nil {
			return choice
		}
	}
	return Choice{c.latest, Latest}
}
