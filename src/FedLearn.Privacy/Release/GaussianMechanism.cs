using System.Diagnostics;
using System.Numerics.Tensors;
using FedLearn.Diagnostics;

namespace FedLearn.Privacy;

/// <summary>The Gaussian mechanism on an integer lattice, for a whole job of one party.</summary>
/// <remarks>
/// <para>y = gamma (round(x/gamma) + K), K the rounded Gaussian of <see cref="INoiseSource"/> and gamma = SigmaCharged/2^24. For an integer n,
/// n + round(Z) = round(n + Z), so this is exact post-processing of the Gaussian mechanism, and sums of integers leave no floating-point
/// trace of x to attack (Mironov 2012; Jin et al., arXiv 2112.05307). The rounding of x is charged as lattice slack.</para>
/// <para>A message is noised once: send the returned <see cref="Released{T}"/> again if it must be sent again. Calls of several threads
/// are served one after the other.</para>
/// </remarks>
public sealed class GaussianMechanism
{
    /// <summary>Largest |round(x/gamma)|. A fixed saturation, so post-processing of x that moves no distance up; below 2^53 - |K|.</summary>
    private const double Saturation = 1L << 51;

    /// <summary>Elements of a block: with its noise 16 KiB, half of a usual first-level cache.</summary>
    private const int Block = 1024;

    private readonly PartyCalibration _calibration;
    private readonly INoiseSource _noise;
    private readonly IPrivacyLedger _ledger;
    private readonly string _party, _jobDigest;
    private readonly double _step, _chargeEach;
    private readonly Lock _lock = new();
    private double[] _ahead = [];
    private int _aheadLength;
    private Task _drawing = Task.CompletedTask;
    private int _released;
    private long _noiseTicks;

    /// <summary>Creates the mechanism of one party for one job.</summary>
    /// <param name="calibration">The noise, and the number of messages it is for.</param>
    /// <param name="noise">Where the noise comes from.</param>
    /// <param name="ledger">Where each release is charged.</param>
    /// <param name="party">Name of the party, for the ledger.</param>
    /// <param name="jobDigest">Digest of the job, for the ledger.</param>
    public GaussianMechanism(PartyCalibration calibration, INoiseSource noise, IPrivacyLedger ledger, string party, string jobDigest)
    {
        ArgumentNullException.ThrowIfNull(calibration);
        ArgumentNullException.ThrowIfNull(noise);
        ArgumentNullException.ThrowIfNull(ledger);
        ArgumentException.ThrowIfNullOrWhiteSpace(party);
        ArgumentException.ThrowIfNullOrWhiteSpace(jobDigest);
        (_calibration, _noise, _ledger, _party, _jobDigest) = (calibration, noise, ledger, party, jobDigest);
        _step = calibration.SigmaCharged / INoiseSource.LatticeScale;
        if (!double.IsNormal(_step) || _step < 0 || calibration.Releases < 1)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, "calibration", "its noise is not a positive number.", "Use a calibration of HdpVflCalibration.");
        _chargeEach = calibration.Mu / Math.Sqrt(calibration.Releases);
    }

    /// <summary>Messages released so far.</summary>
    public int Released => _released;

    /// <summary>Whether the noise protects anything: false with seeded test noise.</summary>
    public bool IsSecure => _noise.IsSecure;

    /// <summary>Time spent in drawing and adding noise, drawing ahead included.</summary>
    public TimeSpan NoiseTime => Stopwatch.GetElapsedTime(0, Interlocked.Read(ref _noiseTicks));

    /// <summary>Draws the noise of the next message on a background thread, so that it is ready when the message is.</summary>
    /// <param name="length">Length of the next message. Another length later costs time only.</param>
    /// <remarks>Optional, and without effect on results: draws are used in the order in which they are made.</remarks>
    public void Prefetch(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        lock (_lock)
        {
            if (_released >= _calibration.Releases)
                return;
            _drawing.GetAwaiter().GetResult();
            int more = length - _aheadLength;
            if (more > 0)
                _drawing = Task.Run(() => Draw(more));
        }
    }

    /// <summary>Adds noise to a vector once, charges the ledger, and lets the result leave.</summary>
    /// <typeparam name="T">The payload.</typeparam>
    /// <param name="value">What is to be sent; every number finite, its sensitivity that of the calibration.</param>
    /// <param name="name">Name of the release for the report and the ledger, such as <c>training scores</c>.</param>
    /// <returns>The noisy vector, rounded to the payload's element type.</returns>
    /// <exception cref="PrivacyRefusedException">FL5006: all messages that the noise is calibrated for have been released.</exception>
    /// <exception cref="InternalFailureException">FL6300: a number is NaN or infinite. Nothing is charged.</exception>
    public Released<T> Release<T>(T value, string name) where T : VectorPayload
    {
        ArgumentNullException.ThrowIfNull(value);
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        lock (_lock)
        {
            if (_released >= _calibration.Releases)
                throw PrivacyErrors.Refused(PrivacyErrors.ReleasesSpent, name,
                    $"the noise is calibrated for {_calibration.Releases} messages, and all have been released.",
                    "Run the epochs and batches that the job states; more of them need a new calibration.");
            ReadOnlySpan<double> exact = value.Values.Span;
            if (!TensorPrimitives.IsFiniteAll(exact))
                throw new InternalFailureException(PrivacyErrors.NotFinite, name, "a value to be released is NaN or infinite.",
                    "The training has diverged or met a fault: lower stepSize; if it persists, report it.");

            double[] noisy = GC.AllocateUninitializedArray<double>(exact.Length);
            AddNoise(exact, noisy, value.ElementType);
            _ledger.Charge(new(_party, _jobDigest, name, _released, _chargeEach));
            _released++;
            return new((T)value.With(noisy), Protection.Noise, name);
        }
    }

    private void AddNoise(ReadOnlySpan<double> exact, Span<double> noisy, ElementType elementType)
    {
        _drawing.GetAwaiter().GetResult();
        if (_aheadLength < exact.Length)
            Draw(exact.Length - _aheadLength);

        long start = Stopwatch.GetTimestamp();
        Span<double> noise = _ahead.AsSpan(0, exact.Length);
        // A block at a time, so that the passes but the first find it in the first-level cache.
        for (int at = 0; at < exact.Length; at += Block)
        {
            int count = Math.Min(Block, exact.Length - at);
            Span<double> block = noisy.Slice(at, count);
            TensorPrimitives.Divide(exact.Slice(at, count), _step, block);
            TensorPrimitives.Round(block, block);
            TensorPrimitives.Clamp<double>(block, -Saturation, Saturation, block);
            TensorPrimitives.Add(block, noise.Slice(at, count), block);
            TensorPrimitives.Multiply(block, _step, block);
        }

        if (elementType == ElementType.Float32)
            for (int i = 0; i < noisy.Length; i++)
                noisy[i] = (float)Math.Clamp(noisy[i], -float.MaxValue, float.MaxValue);

        // Used noise would reveal the values; what was drawn beyond it moves to the front.
        noise.Clear();
        _aheadLength -= exact.Length;
        _ahead.AsSpan(exact.Length, _aheadLength).CopyTo(_ahead);
        Interlocked.Add(ref _noiseTicks, Stopwatch.GetTimestamp() - start);
    }

    /// <summary>Appends draws to those made ahead.</summary>
    private void Draw(int count)
    {
        long start = Stopwatch.GetTimestamp();
        int length = checked(_aheadLength + count);
        if (_ahead.Length < length)
            Array.Resize(ref _ahead, length);
        var draws = new int[count];
        _noise.Fill(draws);
        TensorPrimitives.ConvertTruncating<int, double>(draws, _ahead.AsSpan(_aheadLength));
        Array.Clear(draws);
        _aheadLength = length;
        Interlocked.Add(ref _noiseTicks, Stopwatch.GetTimestamp() - start);
    }
}
