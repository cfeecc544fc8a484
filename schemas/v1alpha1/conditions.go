package v1alpha1

// Condition types, after kstatus. A finished rollback is Stalled, so that no GitOps
// tool takes the new version for live.
const (
	// ConditionReady is True when the spec that was last observed is fully in effect.
	ConditionReady = "Ready"
	// ConditionReconciling is True only while Tidegate works on the object or waits for
	// something that is expected to come.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True only when nothing more will happen until somebody acts.
	ConditionStalled = "Stalled"
)

// Labels and annotations that Tidegate writes on what it renders. They describe; no
// permission ever follows from them.
const (
	// LabelRelease carries the name of the Release that an object belongs to.
	LabelRelease = "tidegate.io/release"
	// AnnotationAuthor, on a Release, names who last changed its spec. The API server stamps it;
	// one that is claimed is overwritten. On a Rollout it is who made the change that is rolled out.
	AnnotationAuthor = "tidegate.io/author"
	// AnnotationCommittedAt, on a Release, is when its change was committed, as an RFC 3339 time; a
	// pipeline sets it, for the lead time alone.
	AnnotationCommittedAt = "tidegate.io/committed-at"
	// AnnotationAdopted, on a Rollout, is the uid of the Release that took it over from a former
	// Release of its name, which was deleted without it; see Rollout.AdmittedAt.
	AnnotationAdopted = "tidegate.io/adopted-by"
	// LabelRevision carries the revision (see Rollout) that a per-revision object serves.
	LabelRevision = "tidegate.io/revision"
	// LabelTemplate carries the name of the ReleaseTemplate.
	LabelTemplate = "tidegate.io/template"
	// LabelRollout carries the name of the Rollout that a RolloutCommand is about.
	LabelRollout = "tidegate.io/rollout"
	// LabelManagedBy is the standard label; its value is ManagedBy on everything that
	// Tidegate applies.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// ManagedBy is the value of LabelManagedBy.
	ManagedBy = "tidegate"
)

// FieldManager is the server-side apply field manager of the controllers.
const FieldManager = "tidegate"
