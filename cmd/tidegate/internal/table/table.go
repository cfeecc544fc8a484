// Package table says which kinds the command line lists, and makes tables of them.
package table

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/cmd/tidegate/internal/term"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// sentenceWidth is how much of a message a table shows unless it is wide.
const sentenceWidth = 64

// Kind is one kind that can be listed.
type Kind struct {
	// Names are what the kind may be called; the first is used in messages.
	Names []string
	// Namespaced is false for the kinds of the whole cluster.
	Namespaced bool
	// NewList returns an empty list.
	NewList func() client.ObjectList
	columns []column
	compare func(a, b client.Object) int
}

type column struct {
	name string
	// wide columns are shown with -o wide only.
	wide  bool
	value func(o client.Object) any
}

// Options say how a table is made.
type Options struct {
	Style term.Style
	// Now is what ages are counted to.
	Now time.Time
	// Wide shows messages whole.
	Wide bool
}

// Kinds lists the kinds, the most used first.
func Kinds() []Kind {
	return []Kind{releases(), rollouts(), templates(), commands(), templateRevisions(), templateCommands()}
}

// Find returns the kind that is called name.
func Find(name string) (Kind, bool) {
	for _, k := range Kinds() {
		if slices.Contains(k.Names, strings.ToLower(name)) {
			return k, true
		}
	}
	return Kind{}, false
}

// of makes a column of a type's objects.
func of[T client.Object](name string, value func(T) any) column {
	return column{name: name, value: func(o client.Object) any { return value(o.(T)) }}
}

func wide[T client.Object](name string, value func(T) any) column {
	c := of(name, value)
	c.wide = true
	return c
}

func releases() Kind {
	type T = *v1alpha1.Release
	return Kind{
		Names:      []string{"releases", "release", "rel"},
		Namespaced: true,
		NewList:    func() client.ObjectList { return &v1alpha1.ReleaseList{} },
		columns: []column{
			of("Template", func(r T) any { return r.Spec.Template.Name }),
			of("Revision", func(r T) any { return r.Status.Revision }),
			of("Phase", func(r T) any { return releasePhase(r) }),
			of("Step", func(r T) any { return r.Status.Step }),
			of("Weight", func(r T) any { return r.Status.Weight }),
			of("Message", func(r T) any { return r.Status.Message }),
			wide("Stable", func(r T) any { return r.Status.StableRevision }),
			wide("Rollout", func(r T) any { return r.Status.Rollout }),
			wide("Template Revision", func(r T) any { return r.Status.TemplateRevision }),
		},
		compare: byName,
	}
}

// releasePhase marks a phase that speaks of an older spec.
func releasePhase(r *v1alpha1.Release) string {
	phase := string(r.Status.Phase)
	if phase != "" && r.Status.ObservedGeneration != r.Generation {
		return phase + "*"
	}
	return phase
}

func rollouts() Kind {
	type T = *v1alpha1.Rollout
	return Kind{
		Names:      []string{"rollouts", "rollout", "ro"},
		Namespaced: true,
		NewList:    func() client.ObjectList { return &v1alpha1.RolloutList{} },
		columns: []column{
			of("Release", func(r T) any { return r.Spec.Release }),
			of("Revision", func(r T) any { return r.Spec.Revision }),
			of("Phase", func(r T) any { return string(r.Status.Phase) }),
			of("Step", func(r T) any { return fmt.Sprintf("%d/%d", r.Status.Step, len(r.Spec.Strategy.Steps)) }),
			of("Weight", func(r T) any { return r.Status.Weight }),
			of("Verdict", func(r T) any { return verdict(r) }),
			of("Message", func(r T) any { return r.Status.Message }),
			wide("Approved", func(r T) any { return r.Status.ApprovedWeight }),
			wide("Reason", func(r T) any { return r.Status.Reason }),
			wide("Template Revision", func(r T) any { return r.Spec.TemplateRevision }),
		},
		compare: func(a, b client.Object) int {
			x, y := a.(T), b.(T)
			return cmp.Or(strings.Compare(x.Namespace, y.Namespace), strings.Compare(x.Spec.Release, y.Spec.Release), cmp.Compare(x.Spec.Number, y.Spec.Number))
		},
	}
}

func verdict(r *v1alpha1.Rollout) string {
	if r.Status.Analysis == nil {
		return ""
	}
	return string(r.Status.Analysis.Verdict)
}

func templates() Kind {
	type T = *v1alpha1.ReleaseTemplate
	return Kind{
		Names:   []string{"templates", "template", "releasetemplates", "releasetemplate", "rt"},
		NewList: func() client.ObjectList { return &v1alpha1.ReleaseTemplateList{} },
		columns: []column{
			of("Revision", func(r T) any { return r.Status.LatestRevision }),
			of("Sync", func(r T) any { return string(r.Spec.Sync.Type) }),
			of("Target", func(r T) any { return sync(r).Target }),
			of("Phase", func(r T) any { return string(sync(r).Phase) }),
			of("Releases", func(r T) any { return r.Status.Releases }),
			of("Ready", func(r T) any { return ready(r.Status.Conditions).Status }),
			of("Message", func(r T) any { return ready(r.Status.Conditions).Message }),
		},
		compare: byName,
	}
}

func sync(t *v1alpha1.ReleaseTemplate) v1alpha1.TemplateSyncStatus {
	if t.Status.Sync == nil {
		return v1alpha1.TemplateSyncStatus{}
	}
	return *t.Status.Sync
}

func templateRevisions() Kind {
	type T = *v1alpha1.TemplateRevision
	return Kind{
		Names:   []string{"templaterevisions", "templaterevision", "revisions", "trev"},
		NewList: func() client.ObjectList { return &v1alpha1.TemplateRevisionList{} },
		columns: []column{
			of("Template", func(r T) any { return r.Spec.Template }),
			of("Number", func(r T) any { return r.Spec.Number }),
			wide("Engine", func(r T) any { return r.Spec.Engine }),
			wide("Digest", func(r T) any { return r.Spec.Digest }),
		},
		compare: func(a, b client.Object) int {
			x, y := a.(T), b.(T)
			return cmp.Or(strings.Compare(x.Spec.Template, y.Spec.Template), cmp.Compare(x.Spec.Number, y.Spec.Number))
		},
	}
}

func templateCommands() Kind {
	type T = *v1alpha1.TemplateCommand
	return Kind{
		Names:   []string{"templatecommands", "templatecommand", "tcmd"},
		NewList: func() client.ObjectList { return &v1alpha1.TemplateCommandList{} },
		columns: []column{
			of("Template", func(r T) any { return r.Spec.Template }),
			of("Action", func(r T) any { return templateAction(r.Spec) }),
			of("Actor", func(r T) any { return r.Spec.Actor }),
			of("Outcome", func(r T) any { return string(r.Status.Outcome) }),
			of("Message", func(r T) any { return r.Status.Message }),
			wide("Reason", func(r T) any { return r.Spec.Reason }),
		},
		compare: byAge,
	}
}

func templateAction(s v1alpha1.TemplateCommandSpec) string {
	if s.Revision > 0 {
		return fmt.Sprintf("%s to %d", s.Action, s.Revision)
	}
	return string(s.Action)
}

func ready(conditions []metav1.Condition) metav1.Condition {
	if c := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); c != nil {
		return *c
	}
	return metav1.Condition{Status: metav1.ConditionUnknown}
}

func commands() Kind {
	type T = *v1alpha1.RolloutCommand
	return Kind{
		Names:      []string{"commands", "command", "rolloutcommands", "rolloutcommand", "rcmd"},
		Namespaced: true,
		NewList:    func() client.ObjectList { return &v1alpha1.RolloutCommandList{} },
		columns: []column{
			of("Rollout", func(r T) any { return r.Spec.Rollout }),
			of("Action", func(r T) any { return action(r.Spec) }),
			of("Actor", func(r T) any { return r.Spec.Actor }),
			of("Outcome", func(r T) any { return string(r.Status.Outcome) }),
			of("Message", func(r T) any { return r.Status.Message }),
			wide("Reason", func(r T) any { return r.Spec.Reason }),
		},
		compare: byAge,
	}
}

func byAge(a, b client.Object) int {
	x, y := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	return cmp.Or(strings.Compare(a.GetNamespace(), b.GetNamespace()), x.Compare(y.Time), byName(a, b))
}

func action(s v1alpha1.RolloutCommandSpec) string {
	if s.Step > 0 {
		return fmt.Sprintf("%s step %d", s.Action, s.Step)
	}
	return string(s.Action)
}

func byName(a, b client.Object) int {
	return cmp.Or(strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
}

// Sort puts objects of the kind into the order they are shown in: commands by age,
// Rollouts by Release and number, revisions by template and number, the rest by name.
func (k Kind) Sort(objects []client.Object) { slices.SortStableFunc(objects, k.compare) }

// Table makes a table of objects of the kind, for a table printer.
func (k Kind) Table(objects []client.Object, o Options) *metav1.Table {
	t := &metav1.Table{ColumnDefinitions: []metav1.TableColumnDefinition{{Name: "Name", Type: "string", Format: "name"}}}
	for _, c := range k.columns {
		d := metav1.TableColumnDefinition{Name: c.name, Type: "string"}
		if c.wide {
			d.Priority = 1
		}
		t.ColumnDefinitions = append(t.ColumnDefinitions, d)
	}
	t.ColumnDefinitions = append(t.ColumnDefinitions, metav1.TableColumnDefinition{Name: "Age", Type: "string"})
	for _, object := range objects {
		row := metav1.TableRow{Object: runtime.RawExtension{Object: object}, Cells: []any{object.GetName()}}
		for _, c := range k.columns {
			value := c.value(object)
			if text, ok := value.(string); ok {
				text = term.Line(text)
				if c.name == "Message" && !o.Wide {
					text = o.Style.Shorten(text, sentenceWidth)
				}
				value = text
			}
			row.Cells = append(row.Cells, value)
		}
		row.Cells = append(row.Cells, age(object, o.Now))
		t.Rows = append(t.Rows, row)
	}
	return t
}

func age(o client.Object, now time.Time) string {
	created := o.GetCreationTimestamp()
	if created.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(created.Time))
}
