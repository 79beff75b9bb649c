namespace FedLearn.Dssm;

/// <summary>A version of the federated model: parameters by block.</summary>
/// <param name="Version">Number of the version: rounds that made it.</param>
/// <param name="Item">Parameters of the item model, in the order of <see cref="ITower.GetParameters"/>.</param>
/// <param name="Views">Parameters of the user model of each view, in the job's order; empty when user models stay at their devices.</param>
public sealed record DeviceModel(int Version, double[] Item, IReadOnlyList<double[]> Views);

/// <summary>What became of one attempt at a round.</summary>
/// <param name="Round">Round, from 0.</param>
/// <param name="Attempt">Attempt, counted over the whole job from 0.</param>
/// <param name="Participants">Devices whose coin said yes.</param>
/// <param name="Survivors">Devices whose updates are in the sum; 0 when the attempt was given up.</param>
/// <param name="Masked">Whether the updates were added under masks.</param>
/// <param name="Failure">Why the attempt was given up; null when it made a version.</param>
/// <param name="Loss">Mean loss over the samples of the round, where a simulation in mode none knows it; else null.</param>
public sealed record DeviceRound(int Round, int Attempt, int Participants, int Survivors, bool Masked, string? Failure = null, double? Loss = null);

/// <summary>What a device is promised against one kind of observer.</summary>
/// <param name="Observer">Who observes.</param>
/// <param name="Mu">Gaussian-DP parameter over the whole job; null where the figure has none.</param>
/// <param name="Epsilon">Epsilon over the whole job, for the unit device.</param>
/// <param name="Delta">Delta.</param>
/// <param name="Adjacency">What neighbours are: <c>zero-out</c>, <c>replace-one</c> or <c>add/remove</c>.</param>
/// <param name="Claim">The claim, as a sentence that names unit, observer and adjacency.</param>
public sealed record DevicePrivacyFigure(DeviceObserver Observer, double? Mu, double Epsilon, double Delta, string Adjacency, string Claim);

/// <summary>What a device job promises, and what it does not.</summary>
/// <param name="IsPrivate">Whether updates are noised.</param>
/// <param name="NoiseMultiplier">Noise of a sum for each unit of the clip; 0 without noise.</param>
/// <param name="Clip">Bound on a device's update; null without one.</param>
/// <param name="HonestSurvivors">n_min = t - c: clients whose noise is counted on; 0 without noise.</param>
/// <param name="MaxParticipations">Cap R; 0 without noise.</param>
/// <param name="UnmaskedMuPerRound">What the server would learn of one update in one attempt if masks were off: kappa sqrt(n_min)/sigma; 0 without noise.</param>
/// <param name="Figures">Both figures; empty without noise.</param>
/// <param name="Claims">Claims, as sentences.</param>
/// <param name="Warnings">What a reader must know besides.</param>
public sealed record DevicePrivacyStatement(bool IsPrivate, double NoiseMultiplier, double? Clip, int HonestSurvivors, int MaxParticipations, double UnmaskedMuPerRound,
    IReadOnlyList<DevicePrivacyFigure> Figures, IReadOnlyList<string> Claims, IReadOnlyList<string> Warnings);

/// <summary>What a device job made.</summary>
/// <param name="Model">The last version.</param>
/// <param name="Rounds">Every attempt.</param>
/// <param name="Privacy">What is promised.</param>
/// <param name="Notes">How the run differs from a real one, as sentences.</param>
public sealed record DeviceResult(DeviceModel Model, IReadOnlyList<DeviceRound> Rounds, DevicePrivacyStatement Privacy, IReadOnlyList<string> Notes);
