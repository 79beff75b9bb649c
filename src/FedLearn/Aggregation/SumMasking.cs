using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FedLearn.Privacy;

namespace FedLearn.Aggregation;

/// <summary>The active party's side of a masked sum: relays the views' public keys and adds their masked vectors.</summary>
/// <remarks>Claim: the active party is trusted to relay keys as they are, and colludes with no view. It then learns the sum of the views' vectors and nothing else of
/// them. With two views, one that colludes with it opens the other.</remarks>
public static class SumMasking
{
    /// <summary>Step of exact values: 2^-20.</summary>
    public const double NoiselessStep = AggregationRound.NoiselessStep;

    /// <summary>Fewest views whose vectors can be masked.</summary>
    public const int FewestViews = 2;

    /// <summary>Puts the keys of all remote views together, for every one of them.</summary>
    /// <param name="keys">Every view's name and its message.</param>
    /// <returns>The list.</returns>
    /// <exception cref="FedLearn.Diagnostics.ConfigurationException">FL2454: fewer than two views.</exception>
    /// <exception cref="FedLearn.Diagnostics.PeerException">FL4060, FL4062: a message is not one of keys. FL4067: a key has low order. FL4074: a view comes twice.</exception>
    /// <exception cref="FedLearn.Diagnostics.InternalFailureException">FL6143: libsodium is missing.</exception>
    public static AggregationMessage Roster(IReadOnlyList<(string View, AggregationMessage Keys)> keys)
    {
        ArgumentNullException.ThrowIfNull(keys);
        CheckViews(keys.Count);
        if (keys.DistinctBy(key => key.View, StringComparer.Ordinal).Count() != keys.Count)
            throw ViewsDiffer("a view's keys come twice.");
        WireWriter writer = new WireWriter().Int32(keys.Count);
        foreach ((string view, AggregationMessage message) in keys.OrderBy(key => key.View, StringComparer.Ordinal))
        {
            string place = Place(view);
            if (message.Step != AggregationStep.Keys)
                throw AggregationContext.OutOfOrder(place);
            if (message.Bytes.Length != Sodium.KeyBytes)
                throw WireReader.Malformed(place);
            // Every other view would refuse it, and name the active party.
            AgreementPair.CheckPublic(message.Bytes.Span, place);
            writer.Text(view).Bytes(message.Bytes.Span);
        }

        return new(AggregationStep.Roster, writer.ToArray());
    }

    /// <summary>Adds the views' masked vectors of one step, in which the masks cancel.</summary>
    /// <param name="vectors">One of every remote view. A missing one stops the step: without it nothing can be read.</param>
    /// <param name="views">Number of remote views.</param>
    /// <returns>The integers of the sum times the step: exactly the sum of the views' integers.</returns>
    /// <exception cref="FedLearn.Diagnostics.PeerException">FL4074: their number is another. FL4072: their lengths or steps differ.</exception>
    public static double[] Open(IReadOnlyList<MaskedVector> vectors, int views)
    {
        long[] integers = OpenIntegers(vectors, views);
        double step = vectors[0].Step;
        return Array.ConvertAll(integers, integer => step * integer);
    }

    /// <summary>As <see cref="Open"/>, as integers.</summary>
    /// <inheritdoc cref="Open" />
    public static long[] OpenIntegers(IReadOnlyList<MaskedVector> vectors, int views)
    {
        ArgumentNullException.ThrowIfNull(vectors);
        CheckViews(views);
        if (vectors.Count != views)
            throw ViewsDiffer("a view's masked vector is missing or comes twice.");
        if (vectors.Any(vector => vector.Length != vectors[0].Length || !vector.Step.Equals(vectors[0].Step)))
            throw AggregationErrors.Peer(AggregationErrors.WrongVector, Place("active party"), "the views' masked vectors differ in length or step.",
                "Check that all views run the same job and release; with noise they need one lattice.");
        ulong[] sum = new ulong[vectors[0].Length];
        foreach (MaskedVector vector in vectors)
            AddTo(sum, vector);
        return Array.ConvertAll(sum, word => unchecked((long)word));
    }

    internal static void AddTo(ulong[] sum, MaskedVector vector)
    {
        ReadOnlySpan<byte> words = vector.Values.Span;
        for (int i = 0; i < sum.Length; i++)
            sum[i] = unchecked(sum[i] + BinaryPrimitives.ReadUInt64LittleEndian(words[(i * sizeof(ulong))..]));
    }

    internal static void CheckViews(int views)
    {
        if (views < FewestViews)
            throw AggregationErrors.Configuration(AggregationErrors.TooFewViews, "masked sum", "it has fewer than two remote views: a sum of one vector is that vector.",
                "Leave the masked sum out, or add a remote view.");
    }

    internal static string Place(string view) => $"masked sum, {view}";

    private static Diagnostics.PeerException ViewsDiffer(string cause) => AggregationErrors.Peer(AggregationErrors.ViewsDiffer, Place("active party"), cause,
        "A missing party stops the step: restart the job when it is back.");
}

/// <summary>A remote view's side of a masked sum: its vectors leave under masks that cancel in the sum over all remote views.</summary>
/// <remarks>
/// The mask of a step comes from one seed a pair of views (X25519 and HKDF-SHA256) bound to job digest and step; word row k + coordinate of its stream masks that
/// coordinate of that row. Keys live as long as this object. A view that may be restarted keeps the seeds (<see cref="Save"/>) with the state of its run, and the masked messages in an outbox: a step that
/// one view has sent and another has not yet can be opened under the same seeds only. Not for several threads at once.
/// </remarks>
public sealed class SumMaskingParty : IDisposable
{
    private const string Domain = "FedLearn masked sum 1";

    private readonly string[] _views;
    private readonly byte[] _job;
    private readonly double _latticeStep;
    private readonly AgreementPair _pair = new();
    private readonly List<(int Place, byte[] Seed)> _seeds = [];
    private readonly int _own;
    private long _step = -1;
    private byte[] _content = [];
    private Released<MaskedVector>? _sent;
    private bool _disposed;

    /// <summary>Creates the side of one view for one job, with fresh keys.</summary>
    /// <param name="view">Its name.</param>
    /// <param name="views">Names of all remote views, this one included, different from one another.</param>
    /// <param name="jobDigest">SHA-256 digest of the job.</param>
    /// <param name="latticeStep">What 1 stands for, the same at every view: 2^-20 without noise, the common lattice of the noise with it.</param>
    /// <exception cref="ArgumentException">The names do not fit, or the digest has another length than 32 bytes.</exception>
    /// <exception cref="FedLearn.Diagnostics.ConfigurationException">FL2454: fewer than two remote views.</exception>
    /// <exception cref="FedLearn.Diagnostics.InternalFailureException">FL6143: libsodium is missing.</exception>
    public SumMaskingParty(string view, IReadOnlyList<string> views, ReadOnlyMemory<byte> jobDigest, double latticeStep = SumMasking.NoiselessStep)
    {
        ArgumentNullException.ThrowIfNull(views);
        SumMasking.CheckViews(views.Count);
        _views = [.. views.Order(StringComparer.Ordinal)];
        _own = Array.IndexOf(_views, view);
        if (_own < 0 || _views.Distinct(StringComparer.Ordinal).Count() != _views.Length)
            throw new ArgumentException("The names of the remote views are not different from one another, or lack this view.", nameof(views));
        if (jobDigest.Length != AggregationRound.DigestBytes || !(double.IsNormal(latticeStep) && latticeStep > 0))
            throw new ArgumentException("A job digest has 32 bytes, and a step is above 0.", nameof(jobDigest));
        (_job, _latticeStep) = (jobDigest.ToArray(), latticeStep);
    }

    private string Place => SumMasking.Place(_views[_own]);

    /// <summary>This view's public key, for the active party to relay.</summary>
    public AggregationMessage Keys() => new(AggregationStep.Keys, _pair.PublicKey);

    /// <summary>Agrees on a seed with every other view. Once.</summary>
    /// <param name="roster">All views' keys, as the active party put them together.</param>
    /// <exception cref="FedLearn.Diagnostics.PeerException">FL4060, FL4062: it is no such list, or comes again. FL4067: a key has low order. FL4071: it names other views or another key of this one,
    /// or a key twice.</exception>
    public void Agree(AggregationMessage roster)
    {
        ArgumentNullException.ThrowIfNull(roster);
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (roster.Step != AggregationStep.Roster || _seeds.Count > 0)
            throw AggregationContext.OutOfOrder(Place);
        var reader = new WireReader(roster.Bytes, Place);
        if (reader.Int32() != _views.Length)
            throw BadRoster();
        var keys = new ReadOnlyMemory<byte>[_views.Length];
        for (int i = 0; i < keys.Length; i++)
        {
            byte[] name = System.Text.Encoding.UTF8.GetBytes(_views[i]);
            if (reader.Int32() != name.Length || !reader.Take(name.Length).Span.SequenceEqual(name))
                throw BadRoster();
            keys[i] = reader.Take(Sodium.KeyBytes);
        }

        reader.End();
        if (!keys[_own].Span.SequenceEqual(_pair.PublicKey) || keys.DistinctBy(key => Convert.ToHexString(key.Span)).Count() != keys.Length)
            throw BadRoster();
        var seeds = new List<(int, byte[])>();
        for (int i = 0; i < keys.Length; i++)
        {
            if (i == _own)
                continue;
            byte[] seed = GC.AllocateArray<byte>(MaskStream.SeedBytes, pinned: true);
            byte[] info = new WireWriter().Text(Domain).Bytes(_job).Text(_views[Math.Min(i, _own)]).Text(_views[Math.Max(i, _own)]).ToArray();
            _pair.Derive(keys[i].Span, default, info, seed, Place);
            seeds.Add((i, seed));
        }

        _seeds.AddRange(seeds);
        _pair.Dispose();
    }

    /// <summary>Adds the seeds and the last step, once the views have agreed. As secret as the view's data.</summary>
    internal void Save(Coordination.StateWriter state)
    {
        if (_seeds.Count == 0)
            throw new InvalidOperationException("The views have not agreed on seeds.");
        state.Add("masks.step", _step);
        foreach ((int place, byte[] seed) in _seeds)
            state.Add($"masks.{place}", seed);
    }

    /// <summary>Goes on with what <see cref="Save"/> added, instead of agreeing.</summary>
    internal void Restore(Coordination.StateReader state)
    {
        for (int i = 0; i < _views.Length; i++)
        {
            if (i == _own)
                continue;
            byte[] seed = GC.AllocateArray<byte>(MaskStream.SeedBytes, pinned: true);
            ReadOnlyMemory<byte> kept = state.Bytes($"masks.{i}");
            if (kept.Length != seed.Length)
                throw state.Damaged();
            kept.Span.CopyTo(seed);
            _seeds.Add((i, seed));
        }

        _step = state.Integer("masks.step");
        _pair.Dispose();
    }

    /// <summary>Masks the vectors of one step. An absent row is one of zeros, and looks like any other.</summary>
    /// <param name="step">Step of the job: rises from one message to the next. The same step again gives the same message, if the vectors are the same.</param>
    /// <param name="embeddings">What may leave already, on the lattice of all views.</param>
    /// <param name="name">Name of the release for the report.</param>
    /// <returns>The masked vectors, for the active party.</returns>
    /// <exception cref="ArgumentException">The vectors are not on the common lattice.</exception>
    /// <exception cref="FedLearn.Diagnostics.PrivacyRefusedException">FL5142: the step is over, or its mask has served for other vectors.</exception>
    public Released<MaskedVector> Mask(long step, Released<Embeddings> embeddings, string name = "masked embeddings") => Mask(step, embeddings, name, null);

    /// <summary>As <see cref="Mask(long, Released{Embeddings}, string)"/>; with an outbox the message is kept there before it may leave, under the number of its step, and one that is kept
    /// already leaves again as it is.</summary>
    internal Released<MaskedVector> Mask(long step, Released<Embeddings> embeddings, string name, IMaskedOutbox? outbox)
    {
        ArgumentNullException.ThrowIfNull(embeddings);
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_seeds.Count == 0)
            throw new InvalidOperationException("The views have not agreed on seeds.");
        if (embeddings.Payload.Lattice is not { } lattice || !lattice.Step.Equals(_latticeStep))
            throw new ArgumentException("The vectors are not on the lattice that the views have in common.", nameof(embeddings));
        byte[] content = new WireWriter().Int32(lattice.Bits).Int32(lattice.Length).Bytes(lattice.Packed.Span).Digest();
        if (step == _step && _sent is not null && CryptographicOperations.FixedTimeEquals(content, _content))
            return _sent;
        if (step <= _step)
            throw AggregationErrors.Refused(AggregationErrors.UsedAgain, Place, "the mask of this step has served, and other vectors under it would tell the difference of both.",
                "Go on with the next step, or restart the job, which agrees on new keys.");
        // The step counts as used before anything is made with its mask.
        _step = step;
        ulong[] mask = [];
        (_content, _sent) = (content, outbox is null ? AdditiveMask.Apply(embeddings, mask = MaskOf(step, lattice.Length), name)
            : AdditiveMask.Once(embeddings, () => mask = MaskOf(step, lattice.Length), name, outbox, checked((int)step)));
        CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(mask.AsSpan()));
        return _sent;
    }

    private ulong[] MaskOf(long step, int length)
    {
        ulong[] mask = new ulong[length];
        Span<byte> seed = stackalloc byte[MaskStream.SeedBytes];
        foreach ((int other, byte[] pair) in _seeds)
        {
            HKDF.Expand(HashAlgorithmName.SHA256, pair, seed, new WireWriter().Text(Domain).Bytes(_job).Int64(step).ToArray());
            if (_own < other)
                MaskStream.Add(seed, mask);
            else
                MaskStream.Subtract(seed, mask);
        }

        CryptographicOperations.ZeroMemory(seed);
        return mask;
    }

    /// <summary>Wipes keys and seeds.</summary>
    public void Dispose()
    {
        _disposed = true;
        _pair.Dispose();
        foreach ((_, byte[] seed) in _seeds)
            CryptographicOperations.ZeroMemory(seed);
    }

    private Diagnostics.PeerException BadRoster() => AggregationErrors.Peer(AggregationErrors.BadRoster, Place, "the list of keys names other views, another key of this view, or a key twice.",
        "Check that all parties have the same job; if it persists, do not trust the active party.");
}
