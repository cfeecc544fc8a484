package sync

// Reason codes of where a sync stands.
const (
	// ReasonMoving is: Releases of the current wave are under way.
	ReasonMoving = "TG-SYNC-MOVING"
	// ReasonSoaking is: the current wave has settled and is watched.
	ReasonSoaking = "TG-SYNC-SOAKING"
	// ReasonSynced is: every wave has been passed.
	ReasonSynced = "TG-SYNC-SYNCED"
	// ReasonManual is: Releases take the target when their teams apply them.
	ReasonManual = "TG-SYNC-MANUAL"
	// ReasonPaused is: a person paused the sync.
	ReasonPaused = "TG-SYNC-PAUSED"
	// ReasonHalted is: more Releases of a wave failed than may.
	ReasonHalted = "TG-SYNC-HALTED"
	// ReasonUnproven is: no Release of the wave has settled, so that nothing is known of the
	// target.
	ReasonUnproven = "TG-SYNC-UNPROVEN"
	// ReasonHeld is: a policy does not let Releases be moved now.
	ReasonHeld = "TG-SYNC-HELD"
	// ReasonInvalid is: the waves or the target cannot be made sense of.
	ReasonInvalid = "TG-SYNC-INVALID"
	// ReasonRollback is: a person turned the template back to an earlier revision.
	ReasonRollback = "TG-SYNC-ROLLBACK"
)

// ReasonCommandUnfit is: the command does not fit where the sync stands.
const ReasonCommandUnfit = "TG-COMMAND-UNFIT"
