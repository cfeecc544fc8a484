package follow

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// digest is one that a revision could have.
func digest(word string) string { return "sha256:" + strings.Repeat(word, 64)[:64] }

// published are revisions of template web with the digests, from number 1 on, among some of
// another template.
func published(digests ...string) []v1alpha1.TemplateRevision {
	out := []v1alpha1.TemplateRevision{
		{ObjectMeta: metav1.ObjectMeta{Name: "web-extra-9"}, Spec: v1alpha1.TemplateRevisionSpec{Template: "web-extra", Number: 9, Digest: digest("a")}},
	}
	for i, d := range digests {
		out = append(out, v1alpha1.TemplateRevision{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%d", i+1)},
			Spec:       v1alpha1.TemplateRevisionSpec{Template: "web", Number: int64(i) + 1, Digest: d},
		})
	}
	return out
}

// release is of generation 5, which has been observed, and was rendered with has.
func release(has string, change ...func(*v1alpha1.Release)) *v1alpha1.Release {
	r := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart", Generation: 5}}
	r.Spec.Template.Name = "web"
	r.Status.TemplateRevision, r.Status.ObservedGeneration = has, 5
	if has == "" {
		r.Status.ObservedGeneration = -1
	}
	for _, c := range change {
		c(r)
	}
	return r
}

func assigned(name string, generation int64) func(*v1alpha1.Release) {
	return func(r *v1alpha1.Release) {
		r.Status.Assigned = &v1alpha1.AssignedRevision{Name: name, Generation: generation}
	}
}

func edited(r *v1alpha1.Release) { r.Generation = 6 }

func pin(revision int64, digest string) func(*v1alpha1.Release) {
	return func(r *v1alpha1.Release) {
		r.Spec.Template.Revision, r.Spec.Template.Digest = revision, digest
	}
}

func onChannel(name string) func(*v1alpha1.Release) {
	return func(r *v1alpha1.Release) { r.Spec.Template.Channel = name }
}

// template syncs as the type says, and has two channels, one of which names nothing.
func template(kind v1alpha1.SyncType, sync *v1alpha1.TemplateSyncStatus) *v1alpha1.ReleaseTemplate {
	t := &v1alpha1.ReleaseTemplate{ObjectMeta: metav1.ObjectMeta{Name: "web"}}
	t.Spec.Sync.Type = kind
	t.Spec.Channels = []v1alpha1.TemplateChannel{{Name: "stable", Revision: 2}, {Name: "candidate", Revision: 7}}
	t.Status.Sync = sync
	return t
}

func syncing(phase v1alpha1.SyncPhase, target, from string) *v1alpha1.TemplateSyncStatus {
	return &v1alpha1.TemplateSyncStatus{Phase: phase, Target: target, From: from}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	const (
		immediate = v1alpha1.SyncImmediate
		staged    = v1alpha1.SyncStaged
		manual    = v1alpha1.SyncManual
	)
	midway := syncing(v1alpha1.SyncSyncing, "web-3", "web-2")
	synced := syncing(v1alpha1.SyncSynced, "web-3", "web-2")
	back := syncing(v1alpha1.SyncSyncing, "web-2", "")
	back.RolledBackFrom = "web-3"
	through := syncing(v1alpha1.SyncPaused, "web-3", "web-2")
	through.Waves = []v1alpha1.WaveStatus{{Name: "rest", Phase: v1alpha1.WaveDone}}
	for name, c := range map[string]struct {
		release  *v1alpha1.Release
		template *v1alpha1.ReleaseTemplate
		want     string
	}{
		"a pin holds against everything else": {
			release("web-3", assigned("web-3", 5), pin(1, "")), template(immediate, synced), "web-1 pinned",
		},
		"a pinned digest is found": {release("web-3", pin(0, digest("c"))), template(immediate, synced), "web-3 pinned"},
		"of several revisions with the pinned digest it is the oldest, since a pin does not move": {
			release("web-3", pin(0, digest("b"))), template(immediate, synced), "web-2 pinned",
		},
		"a pinned revision with its digest is found": {
			release("", pin(4, digest("b"))), template(immediate, synced), "web-4 pinned",
		},
		"a pin needs no template": {release("", pin(4, "")), nil, "web-4 pinned"},
		"a channel holds against what is assigned": {
			release("web-3", assigned("web-3", 5), onChannel("stable")), template(immediate, synced), "web-2 channel",
		},
		"on a channel of a template that is gone it keeps what it has": {release("web-3", onChannel("stable")), nil, "web-3 kept"},

		"what is assigned holds, though the sync has moved on": {
			release("web-2", assigned("web-2", 5)), template(staged, midway), "web-2 assigned",
		},
		"a changed spec gets no other revision before its wave": {
			release("web-2", assigned("web-2", 5), edited), template(staged, midway), "web-2 assigned",
		},
		"with manual sync it stays on what it has": {
			release("web-2", assigned("web-2", 5)), template(manual, synced), "web-2 assigned",
		},
		"with manual sync it takes the target when its team changes it": {
			release("web-2", assigned("web-2", 5), edited), template(manual, synced), "web-3 target",
		},
		"what is assigned and gone does not count": {
			release("web-2", assigned("web-9", 5)), template(staged, midway), "web-2 kept",
		},
		"what the sync of another template assigned does not count": {
			release("worker-3", assigned("worker-3", 5), edited), template(immediate, synced), "web-3 target",
		},

		"a new Release takes the target when the sync is through": {release(""), template(staged, synced), "web-3 target"},
		"a new Release takes the target of an immediate sync":     {release(""), template(immediate, midway), "web-3 target"},
		"a new Release takes the target of a manual sync":         {release(""), template(manual, midway), "web-3 target"},
		"a new Release starts from where a staged sync does":      {release(""), template(staged, midway), "web-2 from"},
		"a new Release starts from there when the sync is halted": {
			release(""), template(immediate, syncing(v1alpha1.SyncHalted, "web-3", "web-2")), "web-2 from",
		},
		"a new Release starts from there when the sync is paused": {
			release(""), template(immediate, syncing(v1alpha1.SyncPaused, "web-3", "web-2")), "web-2 from",
		},
		"a new Release takes the target when the sync was through before it was paused": {
			release(""), template(staged, through), "web-3 target",
		},
		"a Release that has something keeps it when the sync is paused, though it was through": {
			release("web-1", edited), template(staged, through), "web-1 kept",
		},
		"a new Release takes the target when there is nothing before it": {
			release(""), template(staged, syncing(v1alpha1.SyncSyncing, "web-3", "")), "web-3 target",
		},
		"a new Release takes the target when what was before it is gone": {
			release(""), template(staged, syncing(v1alpha1.SyncSyncing, "web-3", "web-9")), "web-3 target",
		},
		"a new Release takes what a rollback returns to": {release(""), template(staged, back), "web-2 target"},
		"a new Release takes the latest when there is no sync yet": {
			release(""), template(immediate, nil), "web-4 latest",
		},
		"a new Release takes what was before a target that is gone": {
			release(""), template(immediate, syncing(v1alpha1.SyncSynced, "web-9", "web-2")), "web-2 from",
		},

		"a Release that nothing is assigned to keeps what it has until the sync gets to it": {
			release("web-1"), template(immediate, synced), "web-1 kept",
		},
		"and until its wave when its team changes it": {release("web-1", edited), template(staged, midway), "web-1 kept"},
		"and takes the target when its team changes it and the sync is through": {
			release("web-1", edited), template(staged, synced), "web-3 target",
		},
		"it stays on what it has when its template is gone": {
			release("web-2", assigned("web-3", 5), edited), nil, "web-2 kept",
		},
		"it takes what is assigned when its template is gone before it has anything": {
			release("", assigned("web-3", 5)), nil, "web-3 assigned",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Choose(c.release, c.template, published(digest("a"), digest("b"), digest("c"), digest("b")))
			if err != nil {
				t.Fatal(err)
			}
			if s := got.Revision.Name + " " + string(got.Why); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
		})
	}
}

func TestARevisionThatIsNotThereIsNamedWithWhatIs(t *testing.T) {
	t.Parallel()
	immediate := template(v1alpha1.SyncImmediate, syncing(v1alpha1.SyncSynced, "web-2", ""))
	none := template(v1alpha1.SyncImmediate, nil)
	none.Spec.Channels = nil
	for name, c := range map[string]struct {
		release   *v1alpha1.Release
		template  *v1alpha1.ReleaseTemplate
		revisions []v1alpha1.TemplateRevision
		want      string
	}{
		"a number": {
			release("", pin(7, "")), immediate, published(digest("a"), digest("b")),
			`spec.template.revision: wanted revision 7 of template "web", found revisions 1, 2; set it to one that exists or remove it`,
		},
		"a number where there is one": {
			release("", pin(7, "")), immediate, published(digest("a")),
			`spec.template.revision: wanted revision 7 of template "web", found revision 1; set it to one that exists or remove it`,
		},
		"a number with another digest": {
			release("", pin(2, digest("a"))), immediate, published(digest("a"), digest("b")),
			`spec.template.revision: wanted revision 2 of template "web" with digest ` + digest("a") + `, found digest ` + digest("b") + `; correct one of the two or remove it`,
		},
		"a digest": {
			release("", pin(0, digest("c"))), immediate, published(digest("a"), digest("b")),
			`spec.template.digest: wanted a revision of template "web" with digest ` + digest("c") + `, found none among revisions 1, 2; see theirs with: kubectl get templaterevisions -o wide`,
		},
		"a channel": {
			release("", onChannel("edge")), immediate, published(digest("a"), digest("b")),
			`spec.template.channel: wanted a channel of template "web", one of candidate, stable, found "edge"; set it to one of these or remove it`,
		},
		"a channel where there are none": {
			release("", onChannel("edge")), none, published(digest("a")),
			`spec.template.channel: wanted channel "edge" of template "web", found that it has no channels; remove spec.template.channel`,
		},
		"a channel that names what is not there": {
			release("", onChannel("candidate")), immediate, published(digest("a")),
			`spec.template.channel: wanted what channel "candidate" of template "web" names, revision 7, found revision 1; ask the platform team to move the channel: kubectl edit releasetemplate web`,
		},
		"a channel of a template that is gone": {
			release("", onChannel("stable")), nil, published(digest("a"), digest("b")),
			`spec.template.channel: wanted channel "stable" of template "web", found that the template is gone; pin one of revisions 1, 2 with spec.template.revision instead`,
		},
		"a template": {
			release(""), nil, nil,
			`spec.template.name: wanted the name of a ReleaseTemplate, found "web", which does not exist; see what there is with: kubectl get releasetemplates`,
		},
		"a template that is gone, of which there are revisions": {
			release(""), nil, published(digest("a"), digest("b")),
			`spec.template.name: wanted the name of a ReleaseTemplate, found "web", which does not exist; see what there is with: kubectl get releasetemplates; a Release that has used it before may go on with one of revisions 1, 2: spec.template.revision`,
		},
		"a template that is gone, for a Release that had another": {
			release("worker-3", assigned("worker-3", 5)), nil, published(digest("a")),
			`spec.template.name: wanted the name of a ReleaseTemplate, found "web", which does not exist; see what there is with: kubectl get releasetemplates; a Release that has used it before may go on with one of revision 1: spec.template.revision`,
		},
		"a template without revisions": {
			release("", pin(1, "")), immediate, nil,
			`spec.template.name: wanted a template with a published revision, found "web", which has none; see why with: kubectl get releasetemplate web`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Choose(c.release, c.template, c.revisions)
			missing, ok := errors.AsType[*NotFoundError](err)
			if !ok {
				t.Fatalf("got %+v, %v", got, err)
			}
			if diff := cmp.Diff(c.want, missing.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestManyRevisionsAreNotAllNamed(t *testing.T) {
	t.Parallel()
	digests := make([]string, 30)
	for i := range digests {
		digests[i] = digest("a")
	}
	_, err := Choose(release("", pin(77, "")), nil, published(digests...))
	if err == nil || !strings.Contains(err.Error(), "revisions ..., 21, 22, 23, 24, 25, 26, 27, 28, 29, 30;") {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsBeingDeletedIsNotChosen(t *testing.T) {
	t.Parallel()
	revisions := published(digest("a"), digest("b"))
	going := metav1.NewTime(time.Unix(1, 0))
	revisions[2].DeletionTimestamp = &going
	if got, err := Choose(release(""), template(v1alpha1.SyncImmediate, nil), revisions); err != nil || got.Revision.Name != "web-1" {
		t.Errorf("got %+v, %v", got, err)
	}
}
