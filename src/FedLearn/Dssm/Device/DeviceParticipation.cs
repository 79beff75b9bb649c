using System.Security.Cryptography;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>What a device itself enforces, whatever the server asks: its own coin, its cap, one noise a participation, and the charge before anything leaves.</summary>
internal sealed class DeviceParticipation
{
    /// <summary>Bound on the numbers of an update under masks without noise: 128 clients of 2^51 steps of 2^-20 stay below 2^63.</summary>
    private const double FixedPointBound = 1L << 31;

    private const string ReleaseName = "device update";

    private readonly DevicePlan _plan;
    private readonly DeviceCalibration? _calibration;
    private readonly IPrivacyReservation? _reservation;
    private readonly long _seed;
    private readonly TestNoise? _testNoise;
    private bool _resumed;

    public DeviceParticipation(DevicePlan plan, DeviceCalibration? calibration, string device, IPrivacyReservation? reservation, int before = 0)
    {
        (_plan, _calibration, _reservation) = (plan, calibration, reservation);
        _seed = DeviceDraws.SeedOf(plan.Job.Training.Seed, device);
        // The ledger knows every noise that was drawn; the device's own memory also what needed none.
        Count = Math.Max(reservation?.Kept ?? 0, before);
        _resumed = Count > 0;
        if (plan.Job.Privacy.TestNoiseSeed is { } seed)
            _testNoise = new TestNoise(unchecked((ulong)seed), device);
    }

    /// <summary>Participations so far: attempts for which noise was drawn, or in mode none a model was answered.</summary>
    public int Count { get; private set; }

    /// <summary>Whether the device takes part in an attempt: a Poisson coin, independent of everything, and secret in private modes.</summary>
    public bool Willing(int attempt)
    {
        if (Count >= _plan.MaxParticipations)
            return false;
        double q = _plan.Job.Training.Participation;
        if (!_plan.IsPrivate || _testNoise is not null)
            return DeviceDraws.Coin(_seed, attempt, q);
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        RandomNumberGenerator.Fill(bytes);
        // 53 bits: q is matched to within 2^-53, and never exceeded.
        return PublicRandom.Unit(BitConverter.ToUInt64(bytes)) < q;
    }

    /// <summary>Lets an update leave: noised once, kept and charged, in private modes; on the fixed point of the masks, or as it is, without.</summary>
    /// <param name="update">Federated blocks; in mode none followed by the number of samples.</param>
    /// <exception cref="PrivacyRefusedException">FL5171: the cap is reached.</exception>
    public Released<ModelUpdate> Release(double[] update)
    {
        if (Count >= _plan.MaxParticipations)
            throw new PrivacyRefusedException(DeviceErrors.ParticipationsSpent, "device update",
                $"the device has taken part {Count} {Counted.Noun(Count, "time")}, attempts that came to nothing included, and the job allows no more.", "A new job needs a new budget; until then the device stays out.");
        if (_calibration is null)
        {
            Count++;
            return _plan.Job.Privacy.SecureAggregation
                ? Disclosure.Unprotected(new ModelUpdate(LatticeVector.Of(update, DevicePlan.FixedPoint, FixedPointBound)), "update under masks, without noise")
                : Disclosure.Unprotected(new ModelUpdate(update), "update without masks or noise");
        }

        NoiseCalibration once = _calibration.ClientNoise with { Releases = 1 };
        IPrivacyReservation reservation = new OneMessage(_reservation, _reservation?.Kept ?? Count);
        GaussianMechanism mechanism = _testNoise is not null ? GaussianMechanism.NotPrivate(once, _testNoise, reservation, latticeBits: GaussianMechanism.MostLatticeBits)
            : new GaussianMechanism(once, Secure, reservation, latticeBits: GaussianMechanism.MostLatticeBits);
        // Test noise goes on where an earlier process was.
        if (_resumed && _testNoise is not null)
            mechanism.ContinueAt(new MechanismPosition(0, (long)Count * update.Length));
        _resumed = false;
        // Counted first: an update whose noising failed half-way is not tried again.
        Count++;
        return mechanism.Release(new ModelUpdate(update), ReleaseName);
    }

    private static CsprngNoise Secure { get; } = new();

    /// <summary>The next message of a reservation. Each attempt has a mechanism of its own, so that a device that was restarted goes on after what it kept.</summary>
    private sealed class OneMessage(IPrivacyReservation? inner, int index) : IPrivacyReservation
    {
        public string RunId => inner?.RunId ?? "simulation";

        public int Kept => 0;

        public byte[]? Find(int message) => null;

        public void Keep(int message, ReadOnlySpan<byte> bytes) => inner?.Keep(index, bytes);

        public void Settle(double share) { }

        public void Dispose() { }
    }
}
