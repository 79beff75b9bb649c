using System.Diagnostics;
using System.Numerics.Tensors;
using FedLearn.Diagnostics;

namespace FedLearn.Privacy;

/// <summary>The Gaussian mechanism on an integer lattice, for one kind of value of one party over a whole run.</summary>
/// <remarks>
/// <para>y = gamma (round(x/gamma) + K), K the rounded Gaussian of <see cref="INoiseSource"/> and gamma = sigma/2^24. For an integer n,
/// n + round(Z) = round(n + Z), so this is exact post-processing of the Gaussian mechanism, and sums of integers leave no floating-point
/// trace of x to attack (Mironov 2012; Jin et al., arXiv 2112.05307). The rounding of x is charged as lattice slack.</para>
/// <para>A message leaves with 64 steps a deviation (<see cref="UsualLatticeBits"/>) instead of 2^24: y is rounded to multiples of 2^18 gamma. That is post-processing of y, so it costs no privacy,
/// and adds 1/49152 to the variance of the noise (a rounding error is uniform on a step, 1/12 of its square); a value then takes 11 bits instead of 29 while sigma is above a quarter of its bound.</para>
/// <para>A message is noised once: its bytes are kept by the reservation before they may leave, and a message that is kept already is
/// returned as it was. So is a value that stays at its party, where the reservation keeps those. Calls of several threads are served one after the other.</para>
/// </remarks>
public sealed class GaussianMechanism
{
    /// <summary>Binary logarithm of the steps that a deviation of noise has in a message: fewest, usual and most, those with which noise is made.</summary>
    public const int FewestLatticeBits = 4, UsualLatticeBits = 6, MostLatticeBits = 24;

    /// <summary>Deviations of noise that fit beside the largest value: beyond them (probability below 1e-32 a draw) the sum saturates, which is
    /// post-processing, since the limit is public.</summary>
    private const int NoiseDeviations = 12;

    /// <summary>Largest round(ValueBound/gamma), 2^27 deviations: below that noise would hide nothing, and sums stay exact in a double.</summary>
    private const double LargestValue = 1L << 51;

    /// <summary>Batches of a job have at most two sizes; of more the oldest memory goes.</summary>
    private const int MostTransient = 4;

    /// <summary>Draws that are asked for together where messages are shorter: waking the thread that makes them takes longer than a few thousand draws.</summary>
    private const int DrawsTogether = 1 << 15;

    private readonly NoiseCalibration _calibration;
    private readonly INoiseSource _noise;
    private readonly IPrivacyReservation _reservation;
    private readonly double _largest;
    private readonly Lattice _local, _message;
    private readonly bool _resumed;
    private readonly int _firstLocal, _localStep;
    private readonly Lock _lock = new();
    // The draws that are ready, in the order in which they are used.
    private int[] _ahead = [];
    private int _aheadStart, _aheadLength;
    // The draws that follow them, which a background thread makes: how many were ordered, and how many of these are still to be made.
    // They are made under the lock, by that thread or, where it is late, by the one that needs them.
    private readonly Lock _drawing = new();
    private int[] _drawn = [];
    private int _ordered, _wanted;
    private readonly List<TransientRelease> _transient = [];
    private Drawer? _drawer;
    private int _released;
    private long _used, _noiseTicks;
    // Begin, for the reservation to call while it keeps a release, and what Begin needs to know of that release.
    private readonly Action _begin;
    private double[] _noisy = [];
    private int _nextLength;

    /// <summary>Creates the mechanism of one kind of value for one run.</summary>
    /// <param name="calibration">The noise, and the number of releases it is for.</param>
    /// <param name="noise">Where the noise comes from. Seeded noise is another type, which does not fit here: see <see cref="NotPrivate"/>.</param>
    /// <param name="reservation">The charge that pays for it.</param>
    /// <param name="firstLocal">Number, among the values of the run that stay at the party, of the first that this mechanism perturbs; mechanisms of one
    /// reservation that perturb need numbers of their own.</param>
    /// <param name="localStep">From one number to the next, at least 1. Mechanisms that perturb in turn interleave: as many as the step, the first with 0, the next with 1, so that all numbers
    /// of the run ascend one by one.</param>
    /// <param name="latticeBits">Binary logarithm of the steps that a deviation has in a message, <see cref="FewestLatticeBits"/> to <see cref="MostLatticeBits"/>. The latter where messages are added to
    /// those of others before they are read: a claim may rest on the noise of several, and rounding before the sum would be no post-processing of that.</param>
    /// <exception cref="ConfigurationException">FL2300: the calibration is not one.</exception>
    /// <exception cref="PrivacyRefusedException">FL5007: the noise is below 2^-27 of the values' bound.</exception>
    public GaussianMechanism(NoiseCalibration calibration, CsprngNoise noise, IPrivacyReservation reservation, int firstLocal = 0, int localStep = 1, int latticeBits = UsualLatticeBits)
        : this(calibration, (INoiseSource)noise, reservation, firstLocal, localStep, latticeBits) { }

    internal GaussianMechanism(NoiseCalibration calibration, INoiseSource noise, IPrivacyReservation reservation, int firstLocal = 0, int localStep = 1, int latticeBits = UsualLatticeBits)
    {
        ArgumentNullException.ThrowIfNull(calibration);
        ArgumentNullException.ThrowIfNull(noise);
        ArgumentNullException.ThrowIfNull(reservation);
        ArgumentOutOfRangeException.ThrowIfNegative(firstLocal);
        ArgumentOutOfRangeException.ThrowIfLessThan(localStep, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(latticeBits, FewestLatticeBits);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(latticeBits, MostLatticeBits);
        (_calibration, _noise, _reservation, _resumed) = (calibration, noise, reservation, reservation.Kept > 0);
        (_firstLocal, _localStep) = (firstLocal, localStep);
        _begin = Begin;
        _local = Lattice.Of(calibration, MostLatticeBits);
        _message = Lattice.Of(calibration, latticeBits);
        if (!double.IsNormal(_local.Step) || _local.Step < 0 || calibration.Releases < 1 || !(calibration.ValueBound > 0) || !double.IsFinite(calibration.ValueBound))
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidNumber, "calibration", "its noise or its bound is not a positive number.", "Use a calibration of HdpVflCalibration.");
        _largest = LargestOf(calibration);
        if (_largest > LargestValue)
            throw TooLittleNoise();
    }

    internal static PrivacyRefusedException TooLittleNoise() => PrivacyErrors.Refused(PrivacyErrors.NoiseTooSmall, "epsilon",
        "the noise would be less than a hundred-millionth of the values it is to hide.", "Use a smaller epsilon: one that large promises nothing.");

    /// <summary>Bits that an element of a released vector takes on the wire: the fewest that hold the bound on a value and 12 deviations of noise.</summary>
    /// <param name="calibration">The noise.</param>
    /// <param name="latticeBits">As for the constructor.</param>
    /// <exception cref="PrivacyRefusedException">FL5007: no mechanism takes so little noise.</exception>
    public static int BitsOf(NoiseCalibration calibration, int latticeBits = UsualLatticeBits)
    {
        ArgumentNullException.ThrowIfNull(calibration);
        if (LargestOf(calibration) > LargestValue)
            throw TooLittleNoise();
        return Lattice.Of(calibration, latticeBits).Bits;
    }

    private static double LargestOf(NoiseCalibration calibration) => Math.Round(calibration.ValueBound / Lattice.Of(calibration, MostLatticeBits).Step);

    /// <summary>Multiples of a step: where sums of values and noise are.</summary>
    /// <param name="Step">What an integer of 1 stands for.</param>
    /// <param name="Limit">Largest integer; sums beyond it saturate.</param>
    /// <param name="Coarseness">Step of the noise's own lattice over this one: 1, or a power of two below it.</param>
    private readonly record struct Lattice(double Step, double Limit, double Coarseness)
    {
        public int Bits => LatticeVector.BitsFor((long)Limit);

        public static Lattice Of(NoiseCalibration calibration, int latticeBits)
        {
            int steps = 1 << latticeBits;
            double step = calibration.Sigma / steps;
            return new(step, Math.Round(calibration.ValueBound / step) + (long)NoiseDeviations * steps, (double)steps / INoiseSource.LatticeScale);
        }
    }

    /// <summary>Creates a mechanism that protects nothing: its noise is the same in every run, so that tests can repeat one.</summary>
    /// <param name="calibration">The noise, and the number of releases it is for.</param>
    /// <param name="noise">Seeded noise. What is made with it must say "NOT PRIVATE: test noise".</param>
    /// <param name="reservation">The charge, written down like any other.</param>
    /// <param name="firstLocal">As for the constructor.</param>
    /// <param name="localStep">As for the constructor.</param>
    /// <param name="latticeBits">As for the constructor.</param>
    /// <inheritdoc cref="GaussianMechanism(NoiseCalibration, CsprngNoise, IPrivacyReservation, int, int, int)" path="/exception" />
    public static GaussianMechanism NotPrivate(NoiseCalibration calibration, TestNoise noise, IPrivacyReservation reservation, int firstLocal = 0, int localStep = 1, int latticeBits = UsualLatticeBits) =>
        new(calibration, (INoiseSource)noise, reservation, firstLocal, localStep, latticeBits);

    /// <summary>What an integer of 1 stands for in a message: the noise deviation over a power of two.</summary>
    public double Step => _message.Step;

    /// <summary>Messages released, and values perturbed, so far.</summary>
    public int Released => _released;

    /// <summary>How far the mechanism is, for a checkpoint between two of its releases.</summary>
    public MechanismPosition Position
    {
        get
        {
            lock (_lock)
                return new(_released, _used);
        }
    }

    /// <summary>Goes on where an earlier process of the same run was at a checkpoint: what it released after that is returned as it was kept.</summary>
    /// <param name="position">The position of then.</param>
    /// <exception cref="InvalidOperationException">This mechanism has released something or drawn noise already.</exception>
    /// <exception cref="ArgumentOutOfRangeException">It is no position of a mechanism with this calibration.</exception>
    public void ContinueAt(MechanismPosition position)
    {
        lock (_lock)
        {
            Collect(0);
            if (_released > 0 || _aheadLength > 0)
                throw new InvalidOperationException("A mechanism goes on before it has released or drawn anything.");
            if (position.Released < 0 || position.Released > _calibration.Releases || position.Draws < 0)
                throw new ArgumentOutOfRangeException(nameof(position), "The position is not one of this mechanism.");
            (_released, _used) = (position.Released, position.Draws);
            (_noise as TestNoise)?.Skip(position.Draws);
        }
    }

    /// <summary>Whether the noise protects anything: false with seeded test noise.</summary>
    public bool IsSecure => _noise.IsSecure;

    /// <summary>Time spent in drawing and adding noise and in keeping messages, drawing ahead included.</summary>
    public TimeSpan NoiseTime => Stopwatch.GetElapsedTime(0, Interlocked.Read(ref _noiseTicks));

    /// <summary>Of that: time in which the reservation waited for its storage, for messages of other mechanisms as well.</summary>
    public TimeSpan SyncTime => _reservation.SyncTime;

    /// <summary>Called once the noise of a message has been added, before the message is durable: the place to start other work in, which must not release anything
    /// by this mechanism. Not called for a message that was kept already. Null, the default, for none.</summary>
    public Action? BeforeKeeping { get; set; }

    /// <summary>Makes room for the messages of a run before the first of them is due, so that none has to wait for room.</summary>
    /// <param name="length">Length of the longest message.</param>
    /// <remarks>Optional, and without effect on results.</remarks>
    public void Prepare(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        lock (_lock)
            _reservation.Prepare(LatticeVector.BytesOf(length, _message.Bits), _calibration.Releases);
    }

    /// <summary>Draws the noise of the next message on a background thread, so that it is ready when the message is.</summary>
    /// <param name="length">Length of the next message, or of several together: 4 bytes an element are held until they leave. Another length later costs time only.</param>
    /// <remarks>Optional, and without effect on results: draws are used in the order in which they are made.</remarks>
    public void Prefetch(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        lock (_lock)
        {
            if (_released >= _calibration.Releases)
                return;
            Collect(0);
            if (_aheadLength < length)
                Order(length - _aheadLength);
        }
    }

    /// <summary>Has another thread make draws. Those of an earlier order have been collected.</summary>
    private void Order(int count)
    {
        lock (_drawing)
            _ordered = _wanted = count;
        DrawingThread.Ask(_drawer ??= new Drawer(this));
    }

    private sealed class Drawer(GaussianMechanism mechanism) : IThreadPoolWorkItem
    {
        public void Execute()
        {
            try
            {
                mechanism.DrawWanted();
            }
#pragma warning disable CA1031 // a generator that fails, fails again where the draws are needed, and is reported there
            catch (Exception)
#pragma warning restore CA1031
            {
            }
        }
    }

    /// <summary>Makes the draws that were ordered, unless that has been done meanwhile.</summary>
    private void DrawWanted()
    {
        lock (_drawing)
        {
            if (_wanted == 0)
                return;
            if (_drawn.Length < _wanted)
                _drawn = new int[_wanted];
            Fill(_drawn.AsSpan(0, _wanted));
            _wanted = 0;
        }
    }

    /// <summary>Puts the draws that were ordered behind those at hand, and makes more where they are fewer than needed.</summary>
    private void Collect(int needed)
    {
        lock (_drawing)
        {
            DrawWanted();
            if (_aheadLength == 0)
                (_ahead, _drawn, _aheadStart, _aheadLength) = (_drawn, _ahead, 0, _ordered);
            else if (_ordered > 0)
            {
                Span<int> drawn = _drawn.AsSpan(0, _ordered);
                drawn.CopyTo(Room(_ordered));
                drawn.Clear();
                _aheadLength += _ordered;
            }

            _ordered = 0;
            if (_aheadLength >= needed)
                return;
            // Counted only after they are made, since a generator may fail.
            Fill(Room(needed - _aheadLength));
            _aheadLength = needed;
        }
    }

    /// <summary>Adds noise to a vector once, keeps the result durably, and lets it leave.</summary>
    /// <typeparam name="T">The payload.</typeparam>
    /// <param name="value">What is to be sent; every number finite, its sensitivity that of the calibration.</param>
    /// <param name="name">Name of the release for the report, such as <c>training scores</c>.</param>
    /// <param name="nextLength">Length of the next message, whose noise, and that of some after it where they are short, is drawn on a background thread while the reservation waits for its storage; 0, the default, where there is
    /// none or it is not known. Without effect on results.</param>
    /// <returns>The noisy vector, as integers on the lattice. Of a transient value it is transient too: the next one of the same length and name takes its memory.</returns>
    /// <exception cref="PrivacyRefusedException">FL5006: all messages that the noise is calibrated for have been released.</exception>
    /// <exception cref="InternalFailureException">FL6300: a number is NaN or infinite. Nothing is released.</exception>
    public Released<T> Release<T>(T value, string name, int nextLength = 0) where T : VectorPayload
    {
        ArgumentNullException.ThrowIfNull(value);
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentOutOfRangeException.ThrowIfNegative(nextLength);
        lock (_lock)
        {
            CheckLeft(name);
            if (_reservation.Find(_released) is { } kept)
            {
                LatticeVector sent = LatticeVector.Restore(_message.Step, _message.Bits, value.Length, kept) ?? throw NotKept(name);
                Skip(value.Length);
                _released++;
                return new((T)value.With(sent, null), Protection.Noise, name);
            }

            (Released<T> release, double[] noisy, byte[] packed) = Place(value, name);
            AddNoise(value.Values.Span, noisy, _message, name);
            long start = Stopwatch.GetTimestamp();
            LatticeVector.Pack(noisy, _message.Bits, packed);
            (_noisy, _nextLength) = (noisy, nextLength);
            _reservation.Keep(_released, packed, _begin);
            Interlocked.Add(ref _noiseTicks, Stopwatch.GetTimestamp() - start);
            _released++;
            return release;
        }
    }

    /// <summary>What needs the packed message no more, and so is done while the disk writes it.</summary>
    private void Begin()
    {
        // Ordered one message early, since the thread that makes the draws may get a processor late.
        if (_ordered == 0 && _nextLength > 0 && _aheadLength / _nextLength is var ahead and < 2 && Math.Min(_calibration.Releases - _released - 1 - ahead, Math.Max(1, DrawsTogether / _nextLength)) is var messages and > 0)
            Order(_nextLength * messages);
        BeforeKeeping?.Invoke();
        TensorPrimitives.Multiply(_noisy, _message.Step, _noisy);
    }

    /// <summary>Where a release goes: for a transient value the place of the earlier one of its kind, which has been sent, else memory of its own.</summary>
    private (Released<T> Release, double[] Numbers, byte[] Packed) Place<T>(T value, string name) where T : VectorPayload
    {
        bool transient = value is RoundVector { IsTransient: true };
        if (transient)
            foreach (TransientRelease earlier in _transient)
                if (earlier.Release is Released<T> known && known.Name == name && earlier.Numbers.Length == value.Length)
                    return (known, earlier.Numbers, earlier.Packed);
        double[] numbers = GC.AllocateUninitializedArray<double>(value.Length);
        byte[] packed = new byte[LatticeVector.BytesOf(value.Length, _message.Bits)];
        Released<T> release = new((T)value.With(LatticeVector.Restore(_message.Step, _message.Bits, value.Length, packed)!, numbers), Protection.Noise, name);
        if (transient)
        {
            if (_transient.Count == MostTransient)
                _transient.RemoveAt(0);
            _transient.Add(new(release, numbers, packed));
        }

        return (release, numbers, packed);
    }

    private sealed record TransientRelease(object Release, double[] Numbers, byte[] Packed);

    /// <summary>Adds noise to a vector that stays at its party, in place.</summary>
    /// <param name="value">What becomes noisy; every number finite, its sensitivity that of the calibration.</param>
    /// <param name="name">What it is, for an error.</param>
    /// <exception cref="PrivacyRefusedException">FL5006: all values that the noise is calibrated for have been perturbed, or may have been, by an
    /// earlier process of a run that had kept messages before this mechanism was made, where the reservation does not keep noise that stays.</exception>
    /// <exception cref="InternalFailureException">FL6300: a number is NaN or infinite.</exception>
    public void Perturb(Span<double> value, string name)
    {
        lock (_lock)
        {
            CheckLeft(name);
            int index = checked(_firstLocal + _localStep * _released);
            if (_reservation.FindLocal(index) is { } kept)
            {
                LatticeVector earlier = LatticeVector.Restore(_local.Step, _local.Bits, value.Length, kept) ?? throw NotKept(name);
                earlier.Values().CopyTo(value);
                Skip(value.Length);
                _released++;
                return;
            }

            if (_resumed && !_reservation.KeepsLocally)
                throw PrivacyErrors.Refused(PrivacyErrors.ReleasesSpent, name,
                    "an earlier process of this run may have perturbed the same value with noise that is not kept, and a second noise would tell more than was charged (A6).",
                    "Start a new run, which is charged by itself.");
            AddNoise(value, value, _local, name);
            if (_reservation.KeepsLocally)
            {
                long start = Stopwatch.GetTimestamp();
                _reservation.KeepLocal(index, LatticeVector.Pack(value, _local.Step, _local.Bits).Packed.Span);
                Interlocked.Add(ref _noiseTicks, Stopwatch.GetTimestamp() - start);
            }

            TensorPrimitives.Multiply(value, _local.Step, value);
            _released++;
        }
    }

    private static InternalFailureException NotKept(string name) => new(PrivacyErrors.NotTheKeptMessage, name,
        "the message that the run kept does not fit this one.", "The outbox belongs to another run or is damaged: start a new run.");

    /// <summary>Passes over the noise of something that was noised before, so that test noise goes on as it would have.</summary>
    private void Skip(int length)
    {
        _used += length;
        if (_noise is not TestNoise test)
            return;
        Collect(0);
        int drawn = Math.Min(length, _aheadLength);
        test.Skip(length - drawn);
        Use(drawn);
    }

    /// <summary>Takes draws from those made ahead.</summary>
    private void Use(int count)
    {
        _aheadLength -= count;
        _aheadStart = _aheadLength == 0 ? 0 : _aheadStart + count;
    }

    private void CheckLeft(string name)
    {
        if (_released >= _calibration.Releases)
            throw PrivacyErrors.Refused(PrivacyErrors.ReleasesSpent, name,
                $"the noise is calibrated for {_calibration.Releases} {(_calibration.Releases == 1 ? "message, and it has" : "messages, and all have")} been released (A6).",
                "Run the epochs and batches that the job states; more of them need a new calibration.");
    }

    /// <summary>noisy = round(exact/gamma) + K, rounded to multiples of a lattice's step and saturated; integers held exactly.</summary>
    private void AddNoise(ReadOnlySpan<double> exact, Span<double> noisy, Lattice lattice, string name)
    {
        if (!exact.IsEmpty && !TensorPrimitives.IsFiniteAll(exact))
            throw new InternalFailureException(PrivacyErrors.NotFinite, name, "a value to be released is NaN or infinite.",
                "The training has diverged or met a fault: lower stepSize; if it persists, report it.");
        if (_aheadLength < exact.Length)
            Collect(exact.Length);

        long start = Stopwatch.GetTimestamp();
        Span<int> noise = _ahead.AsSpan(_aheadStart, exact.Length);
        int done = LatticeLanes.Sum(exact, _local.Step, _largest, noise, lattice.Coarseness, lattice.Limit, noisy);
        for (int i = done; i < exact.Length; i++)
        {
            double sum = Math.Clamp(Math.Round(exact[i] / _local.Step), -_largest, _largest) + noise[i];
            noisy[i] = Math.Clamp(Math.Round(sum * lattice.Coarseness), -lattice.Limit, lattice.Limit);
        }

        // Used noise would reveal the values.
        noise.Clear();
        Use(exact.Length);
        _used += exact.Length;
        Interlocked.Add(ref _noiseTicks, Stopwatch.GetTimestamp() - start);
    }

    /// <summary>Room behind the draws at hand.</summary>
    private Span<int> Room(int count)
    {
        int length = checked(_aheadLength + count);
        if (_ahead.Length - _aheadStart < length)
        {
            // Moves the draws to the front. The array may be long enough already, when messages differ in length.
            int[] room = _ahead.Length < length ? new int[length] : _ahead;
            Span<int> left = _ahead.AsSpan(_aheadStart, _aheadLength);
            left.CopyTo(room);
            left[(room == _ahead ? Math.Max(0, _aheadLength - _aheadStart) : 0)..].Clear();
            (_ahead, _aheadStart) = (room, 0);
        }

        return _ahead.AsSpan(_aheadStart + _aheadLength, count);
    }

    private void Fill(Span<int> draws)
    {
        long start = Stopwatch.GetTimestamp();
        _noise.Fill(draws);
        Interlocked.Add(ref _noiseTicks, Stopwatch.GetTimestamp() - start);
    }
}

/// <summary>How far a mechanism is.</summary>
/// <param name="Released">Messages released, and values perturbed.</param>
/// <param name="Draws">Draws of noise that these took.</param>
public readonly record struct MechanismPosition(int Released, long Draws);
