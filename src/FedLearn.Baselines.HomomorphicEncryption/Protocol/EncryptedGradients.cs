using System.Diagnostics;
using System.Numerics;
using System.Numerics.Tensors;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Baselines.HomomorphicEncryption;

/// <summary>A party's side of the encrypted protocol of the modes he and he+dp: shares of residuals are encrypted under the arbiter's key and summed, every party
/// multiplies the sum with its own columns, and the arbiter opens the masked result.</summary>
/// <remarks>Parties and arbiter are semi-honest, and the arbiter colludes with none of them. docs/protocol.md has the messages, docs/privacy.md what each side learns.
/// The residual is linear in the scores: Taylor's formula for binomial labels (Hardy et al. 2017, arXiv 1711.10677). Masks are uniform, nothing but the constant
/// coefficient is ever opened, and the answers are flooded against key recovery from exact decryptions (Li and Micciancio, ePrint 2020/1533).</remarks>
public sealed class EncryptedGradients : IJointGradients
{
    // Binary logarithm of what every scheme encodes and encrypts at most, see IEncryptor.
    internal const int LargestBits = 20;

    private const double LargestNumber = 1 << LargestBits;

    private readonly GlmJob _job;
    private readonly GlmPlan _plan;
    private readonly IAdditiveScheme _scheme;
    private readonly IAsyncDisposable? _session;
    private readonly List<PlainColumns> _columns = [];
    private readonly bool _active;
    private IEncryptor? _encryptor;
    private JointRows? _rows;
    private int _columnBits;
    private long _waited, _worked;

    /// <summary>Creates the party's side over a channel that is open.</summary>
    /// <param name="job">The job, in mode he or he+dp.</param>
    /// <param name="party">Name of the party.</param>
    /// <param name="scheme">The scheme that the job names.</param>
    /// <param name="arbiter">Channel to the arbiter.</param>
    /// <param name="session">What to dispose of with this; null for nothing.</param>
    /// <exception cref="ConfigurationException">The job is inconsistent, or has more parties than the scheme adds up (FL2510).</exception>
    public EncryptedGradients(GlmJob job, string party, IAdditiveScheme scheme, IPartyChannel arbiter, IAsyncDisposable? session = null)
    {
        ArgumentNullException.ThrowIfNull(scheme);
        ArgumentNullException.ThrowIfNull(arbiter);
        (_plan, _job, _scheme, Arbiter, _session) = (GlmPlan.Create(job), job, scheme, arbiter, session);
        _active = job.Parties.First(p => p.Party.Name == party).Party.Role == Coordination.PartyRole.Active;
        CheckParties(job, scheme);
    }

    /// <summary>Every party encrypts a share of the residuals, and the bound on the error of their sum, which the noise of he+dp counts on, holds for so many.</summary>
    internal static void CheckParties(GlmJob job, IAdditiveScheme scheme)
    {
        if (job.Parties.Count > scheme.MostShares)
            throw new ConfigurationException(GlmJointErrors.NotEncryptable, "parties", $"the job has {job.Parties.Count} parties; the scheme {scheme.Name} adds up at most {scheme.MostShares} encrypted shares within its error bound.",
                "Use fewer parties, another privacy.he.scheme, or a mode without encryption.");
    }

    /// <inheritdoc />
    public IPartyChannel Arbiter { get; }

    /// <inheritdoc />
    public TimeSpan WaitTime => Stopwatch.GetElapsedTime(0, _waited);

    /// <inheritdoc />
    public TimeSpan EngineTime => Stopwatch.GetElapsedTime(0, _worked);

    /// <inheritdoc />
    public async Task<JointAgreement> PrepareAsync(JointRows rows, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(rows);
        long start = Stopwatch.GetTimestamp();
        _rows = rows;
        // In he+dp rows are declared, and kept, within length 1, so that their largest number need not be told.
        bool noised = _plan.Mode == PrivacyMode.HeDp;
        int bits = noised ? 0 : ColumnBits(rows);
        double[] own = [rows.Layout.Rows, rows.Layout.Count, rows.Columns, rows.TargetBound ?? 0, bits];
        await Arbiter.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, own), "agreement: rows, batches, columns and "
            + (noised ? "declared bound of labels" : "the power of two that no number in the columns exceeds")), cancellationToken).ConfigureAwait(false);
        EncryptionKey key = await Arbiter.ReceiveAsync<EncryptionKey>(0, null, cancellationToken).ConfigureAwait(false);
        Scalars all = await ChannelGuard.ReceiveScalarsAsync(Arbiter, 0, ScalarsKind.Agreement, 3, cancellationToken).ConfigureAwait(false);
        double total = all.Values.Span[0], bound = all.Values.Span[1], most = all.Values.Span[2];
        if (!(total >= rows.Columns && total <= int.MaxValue && total == Math.Floor(total) && bound >= own[3] && most >= bits && most <= LargestBits && most == Math.Floor(most)))
            throw ProtocolErrors.Peer(GlmJointErrors.SizesDiffer, Arbiter.RemoteParty, "before round 0", "it names an impossible number or size of columns or bound of labels, or less than this party's own.",
                "Check that all run the same release of the software.");
        _columnBits = (int)most;
        _encryptor = await CheckedAsync(0, Arbiter, () => _scheme.UseKeyAsync(key.Bytes, cancellationToken)).ConfigureAwait(false);
        AnswerSpace space = _encryptor.Answers;
        JointGradientCalibration? noise = !noised ? null
            : JointRules.Calibrate(_plan, rows.Layout, (int)total, bound > 0 ? bound : null, space.Modulus, space.Unit, space.FloodBits, _scheme.SumError);
        await ChannelGuard.WhileTheyWaitAsync([Arbiter, .. rows.Peers], async stop =>
        {
            _encryptor.CheckRoom(rows.Columns, [.. Enumerable.Range(0, rows.Layout.Count).Select(rows.Layout.Size)]);
            await WarmUpAsync(rows, stop).ConfigureAwait(false);
            for (int batch = 0; batch < rows.Layout.Count; batch++)
                _columns.Add(await _encryptor.EncodeAsync(rows.ColumnsOf(batch), rows.Layout.Size(batch), stop).ConfigureAwait(false));
        }, cancellationToken).ConfigureAwait(false);
        return new JointAgreement((int)total, noise, _scheme.Engine, Stopwatch.GetElapsedTime(start).TotalSeconds);
    }

    /// <inheritdoc />
    public async Task<double[]> GradientAsync(int round, int batch, ReadOnlyMemory<double> share, CancellationToken cancellationToken = default)
    {
        JointRows rows = _rows ?? throw new InvalidOperationException("Call PrepareAsync first.");
        CheckRoom(round, share.Span);
        using CipherVector own = await WorkAsync(stop => _encryptor!.EncryptAsync(share, stop), cancellationToken).ConfigureAwait(false);
        using CipherVector residuals = _active ? await SumAsync(round, own, rows.Peers, cancellationToken).ConfigureAwait(false)
            : await ExchangeAsync(round, own, rows.Peers[0], cancellationToken).ConfigureAwait(false);
        MaskedSums masked = await WorkAsync(stop => _encryptor!.MaskedSumsAsync(residuals, _columns[batch], stop), cancellationToken).ConfigureAwait(false);
        long since = Stopwatch.GetTimestamp();
        await Arbiter.SendAsync(round, Cryptosystem.Release(new MaskedProducts(masked.Bytes, masked.Count), "masked inner products", _scheme.Name, Arbiter.RemoteParty), cancellationToken).ConfigureAwait(false);
        MaskedAnswers answers = await Arbiter.ReceiveAsync<MaskedAnswers>(round, masked.Count, cancellationToken).ConfigureAwait(false);
        Waited(since);
        double[] gradient = masked.Unmask(Integers(answers, round), _encryptor!.Answers);
        for (int j = 0; j < gradient.Length; j++)
            gradient[j] /= rows.Layout.Size(batch); // the planned size, never a count of the data
        return gradient;
    }

    /// <inheritdoc />
    public async ValueTask DisposeAsync()
    {
        foreach (PlainColumns columns in _columns)
            columns.Dispose();
        _columns.Clear();
        if (_encryptor is not null)
            await _encryptor.DisposeAsync().ConfigureAwait(false);
        if (_session is not null)
            await _session.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>Binary logarithm of the least power of two, from 1 up, that no number in the own columns exceeds.</summary>
    private static int ColumnBits(JointRows rows)
    {
        double largest = 1;
        for (int batch = 0; batch < rows.Layout.Count; batch++)
            largest = Math.Max(largest, Math.Abs(TensorPrimitives.MaxMagnitude<double>(rows.ColumnsOf(batch))));
        if (!(largest <= LargestNumber))
            throw new ConfigurationException(GlmJointErrors.NotEncryptable, "preprocessing.scaling", "a column of this party has numbers beyond 2^20, more than the schemes encode.",
                "Use standardize, or declared ranges, or other units.");
        int bits = 0;
        while (Math.ScaleB(1, bits) < largest)
            bits++;
        return bits;
    }

    /// <summary>Refuses a share with which a sum might be beyond half of the modulus, where it would wrap and be read as another number. Every party holds its own shares to its
    /// part of the room, for the largest columns of all parties; so no sum of all shares times anybody's column can wrap.</summary>
    private void CheckRoom(int round, ReadOnlySpan<double> share)
    {
        // In he+dp rows, weights and labels are bounded, and the calibration has checked the room for the sums.
        if (_plan.Mode == PrivacyMode.HeDp)
            return;
        bool Fits(double largest) => largest * _job.Parties.Count is <= LargestNumber and var bound && double.IsFinite(_scheme.SumError(_rows!.Layout.LargestSize, bound, Math.ScaleB(1, _columnBits)));
        double least = Math.ScaleB(1, -LargestBits);
        if (Fits(Math.Max(least, Math.Abs(TensorPrimitives.MaxMagnitude(share)))))
            return;
        int bits = LargestBits;
        while (bits > -LargestBits && !Fits(Math.ScaleB(1, bits)))
            bits--;
        string sizes = $"{_job.Parties.Count} parties, batches of {_rows!.Layout.LargestSize} rows and columns of up to 2^{_columnBits} leave room for up to 2^{bits} each";
        // Weights are 0 in round 0, so that labels and offsets are all that a share has.
        throw round == 0
            ? new ConfigurationException(GlmJointErrors.NotEncryptable, "labels, round 0", $"labels of this size could add up to more than the scheme's integers hold: {sizes}.",
                "Give labels in larger units, such as thousands, or less their usual value; scale columns, use smaller batches, or privacy.he.scheme paillier, which has more room.")
            : new InternalFailureException(GlmErrors.Diverged, $"round {round}", $"shares of residuals of this size could add up to more than the scheme's integers hold: {sizes}.",
                "Use a smaller training.stepSize, a training.weightNorm, scaled columns or smaller batches.");
    }

    /// <summary>Lets the engine work, counts its time, and tells arbiter and peers meanwhile that this party is still there. Never several at once.</summary>
    private async Task<T> WorkAsync<T>(Func<CancellationToken, Task<T>> work, CancellationToken cancellationToken)
    {
        long since = Stopwatch.GetTimestamp();
        T result = await ChannelGuard.WhileTheyWaitAsync([Arbiter, .. _rows!.Peers], work, cancellationToken).ConfigureAwait(false);
        _worked += Stopwatch.GetTimestamp() - since;
        return result;
    }

    private void Waited(long since) => _waited += Stopwatch.GetTimestamp() - since;

    /// <summary>Goes through a round on zeros, locally, a few times: compilers of engines take the first rounds to warm up, which are no part of training. Finds out whether a channel is too narrow for
    /// the rounds, before anything is charged.</summary>
    private async Task WarmUpAsync(JointRows rows, CancellationToken cancellationToken)
    {
        const int Columns = 2;
        using PlainColumns columns = await _encryptor!.EncodeAsync(new double[Columns], 1, cancellationToken).ConfigureAwait(false);
        for (int i = 0; i < 20; i++)
        {
            using CipherVector one = await _encryptor.EncryptAsync(new double[1], cancellationToken).ConfigureAwait(false);
            ReadOnlyMemory<byte> saved = await one.SaveAsync(cancellationToken).ConfigureAwait(false);
            using CipherVector other = await _encryptor.LoadAsync(saved, 1, cancellationToken).ConfigureAwait(false);
            using CipherVector sum = await _encryptor.AddAsync(one, other, cancellationToken).ConfigureAwait(false);
            MaskedSums masked = await _encryptor.MaskedSumsAsync(sum, columns, cancellationToken).ConfigureAwait(false);
            if (i > 0)
                continue;
            MessageRoom.Check("masked products with all columns", ((masked.Bytes.Length - 1) / Columns + 1L) * rows.Columns, "use fewer columns", [Arbiter]);
            long shares = (long)saved.Length * rows.Layout.LargestSize;
            // A ciphertext of some schemes holds many numbers, so the size of a whole batch is looked at before it is called too large.
            if (rows.Peers.Any(peer => shares > peer.MaxMessageBytes - MessageRoom.Envelope))
            {
                using CipherVector batch = await _encryptor.EncryptAsync(new double[rows.Layout.LargestSize], cancellationToken).ConfigureAwait(false);
                shares = (await batch.SaveAsync(cancellationToken).ConfigureAwait(false)).Length;
            }

            MessageRoom.Check("encrypted shares of a batch", shares, "use more batches per epoch", rows.Peers);
        }
    }

    /// <summary>The active party: with one passive party both shares cross at once; with several each gets the sum of all others'.</summary>
    private async Task<CipherVector> SumAsync(int round, CipherVector own, IReadOnlyList<IPartyChannel> passives, CancellationToken cancellationToken)
    {
        if (passives.Count == 1)
            return await ExchangeAsync(round, own, passives[0], cancellationToken).ConfigureAwait(false);
        long since = Stopwatch.GetTimestamp();
        // A party that has sent its share waits for the slowest of the others.
        EncryptedShares[] received = await ChannelGuard.WhileTheyWaitAsync([Arbiter, .. passives],
            stop => Task.WhenAll(passives.Select(p => p.ReceiveAsync<EncryptedShares>(round, own.Length, stop).AsTask())), cancellationToken).ConfigureAwait(false);
        Waited(since);
        CipherVector[] theirs = await WorkAsync(stop => Task.WhenAll(passives.Select((p, i) => LoadAsync(round, received[i], own.Length, p, stop))), cancellationToken).ConfigureAwait(false);
        // Every sum holds the active party's own fresh ciphertext, so that nobody can take another's share out of it.
        var forEach = new List<CipherVector>();
        try
        {
            for (int p = 0; p < passives.Count; p++)
                forEach.Add(await WorkAsync(stop => AddAsync([own, .. theirs.Where((_, q) => q != p)], stop), cancellationToken).ConfigureAwait(false));
            EncryptedShares[] sums = await WorkAsync(stop => Task.WhenAll(forEach.Select(sum => SaveAsync(sum, stop))), cancellationToken).ConfigureAwait(false);
            since = Stopwatch.GetTimestamp();
            await Task.WhenAll(passives.Select((p, i) => SendAsync(round, sums[i], p, cancellationToken))).ConfigureAwait(false);
            Waited(since);
            return await WorkAsync(stop => AddAsync([own, .. theirs], stop), cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            foreach (CipherVector vector in forEach.Concat(theirs))
                vector.Dispose();
        }
    }

    /// <summary>Sends the own vector and receives another at the same time, and adds the two.</summary>
    private async Task<CipherVector> ExchangeAsync(int round, CipherVector own, IPartyChannel peer, CancellationToken cancellationToken)
    {
        EncryptedShares shares = await WorkAsync(stop => SaveAsync(own, stop), cancellationToken).ConfigureAwait(false);
        long since = Stopwatch.GetTimestamp();
        // The arbiter waits for the products of what the peer still computes.
        EncryptedShares received = await ChannelGuard.WhileTheyWaitAsync([Arbiter], async stop =>
        {
            using var other = CancellationTokenSource.CreateLinkedTokenSource(stop);
            Task sending = SendAsync(round, shares, peer, other.Token);
            Task<EncryptedShares> receiving = peer.ReceiveAsync<EncryptedShares>(round, own.Length, other.Token).AsTask();
            // Where one has failed the other would wait for a peer that waits as well.
            if (!(await Task.WhenAny(sending, receiving).ConfigureAwait(false)).IsCompletedSuccessfully)
                await other.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll(sending, receiving).ConfigureAwait(false);
            return await receiving.ConfigureAwait(false);
        }, cancellationToken).ConfigureAwait(false);
        Waited(since);
        using CipherVector theirs = await WorkAsync(stop => LoadAsync(round, received, own.Length, peer, stop), cancellationToken).ConfigureAwait(false);
        return await WorkAsync(stop => _encryptor!.AddAsync(own, theirs, stop), cancellationToken).ConfigureAwait(false);
    }

    private static async Task<EncryptedShares> SaveAsync(CipherVector vector, CancellationToken cancellationToken) =>
        new(await vector.SaveAsync(cancellationToken).ConfigureAwait(false), vector.Length);

    private Task SendAsync(int round, EncryptedShares shares, IPartyChannel peer, CancellationToken cancellationToken) =>
        peer.SendAsync(round, Cryptosystem.Release(shares, "shares of residuals", _scheme.Name, Arbiter.RemoteParty), cancellationToken).AsTask();

    private Task<CipherVector> LoadAsync(int round, EncryptedShares shares, int length, IPartyChannel from, CancellationToken cancellationToken) =>
        CheckedAsync(round, from, () => _encryptor!.LoadAsync(shares.Bytes, length, cancellationToken));

    private async Task<CipherVector> AddAsync(IReadOnlyList<CipherVector> vectors, CancellationToken cancellationToken)
    {
        CipherVector sum = await _encryptor!.AddAsync(vectors[0], vectors[1], cancellationToken).ConfigureAwait(false);
        foreach (CipherVector vector in vectors.Skip(2))
        {
            using CipherVector part = sum;
            sum = await _encryptor.AddAsync(part, vector, cancellationToken).ConfigureAwait(false);
        }

        return sum;
    }

    private BigInteger[] Integers(MaskedAnswers answers, int round)
    {
        AnswerSpace space = _encryptor!.Answers;
        ReadOnlyMemory<byte> bytes = answers.Bytes;
        var integers = new BigInteger[answers.Length];
        if (bytes.Length != (long)integers.Length * space.Bytes)
            throw Bad(round, Arbiter, HeErrors.BadCiphertext, "its answers have another size than the key's.");
        for (int j = 0; j < integers.Length; j++)
        {
            integers[j] = new BigInteger(bytes.Span.Slice(j * space.Bytes, space.Bytes), isUnsigned: true);
            if (integers[j] >= space.Modulus)
                throw Bad(round, Arbiter, HeErrors.BadCiphertext, "an answer is not below the key's modulus.");
        }

        return integers;
    }

    internal static async Task<T> CheckedAsync<T>(int round, IPartyChannel from, Func<Task<T>> read)
    {
        try
        {
            return await read().ConfigureAwait(false);
        }
        catch (CipherException e)
        {
            throw Bad(round, from, e.Id, e.Message);
        }
    }

    internal static PeerException Bad(int round, IPartyChannel from, string id, string cause) => ProtocolErrors.Peer(id, from.RemoteParty, $"round {round}", cause,
        "Check that all run the same release of the software and the same scheme; if they do, somebody has tampered with a message.");
}
