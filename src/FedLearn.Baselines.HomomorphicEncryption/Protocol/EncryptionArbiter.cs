using System.Diagnostics;
using System.Numerics;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Baselines.HomomorphicEncryption;

/// <summary>What the arbiter has after a job: sizes and times, nothing of rows, gradients or weights.</summary>
public sealed record ArbiterResult
{
    /// <summary>Its name.</summary>
    public required string Name { get; init; }

    /// <summary>What did the arithmetic.</summary>
    public required string Engine { get; init; }

    /// <summary>Scheme, as run files call it.</summary>
    public required string Scheme { get; init; }

    /// <summary>Rounds answered.</summary>
    public required int Rounds { get; init; }

    /// <summary>Seconds spent opening and, in mode he+dp, noising.</summary>
    public required double ComputeSeconds { get; init; }

    /// <summary>Seconds of these in which the engine opened ciphertexts: all but noise and flooding.</summary>
    public required double EngineSeconds { get; init; }

    /// <summary>Noise of the answers; null in mode he.</summary>
    public required JointGradientCalibration? Calibration { get; init; }

    /// <summary>Whether the noise protects anything: false with seeded test noise.</summary>
    public required bool SecureNoise { get; init; }

    /// <summary>Messages sent, by receiver and name, with their sizes.</summary>
    public required IReadOnlyList<GlmSentMessages> Sent { get; init; }

    /// <summary>Counts over all channels.</summary>
    public required ChannelStatistics Traffic { get; init; }
}

/// <summary>The holder of the secret key in the modes he and he+dp: hands out the public key, and opens what the parties masked.</summary>
/// <remarks>It sees uniform integers, sizes and the number of rounds. It must follow the protocol and collude with no party, for whom it would be a decryption
/// oracle. In mode he+dp it adds the noise that the claim rests on. It has no table and no ledger: each party charges its own.</remarks>
public sealed class EncryptionArbiter
{
    private readonly GlmJob _job;
    private readonly GlmPlan _plan;
    private readonly IAdditiveScheme _scheme;

    /// <summary>Creates the arbiter of a job.</summary>
    /// <param name="job">The job, in mode he or he+dp.</param>
    /// <param name="scheme">The scheme that the job names.</param>
    /// <exception cref="ConfigurationException">The job is inconsistent, has no arbiter (FL2510), or has more parties than the scheme adds up (FL2510).</exception>
    public EncryptionArbiter(GlmJob job, IAdditiveScheme scheme)
    {
        ArgumentNullException.ThrowIfNull(scheme);
        (_plan, _job, _scheme) = (GlmPlan.Create(job), job, scheme);
        if (!JointRules.Covers(_plan.Mode))
            throw new ConfigurationException(GlmJointErrors.NotEncryptable, "privacy.mode", "the job is not encrypted, and has no arbiter.", "Use he or he+dp.");
        EncryptedGradients.CheckParties(job, scheme);
        Terms = GlmJobTerms.OfArbiter(job);
        JoinRequest = new JoinRequest(SessionDesk.ProtocolVersion, Terms.Parties[0], Terms.JobName, Terms.TermsDigest, Terms.Sections, new byte[32]);
    }

    /// <summary>What the session that the arbiter serves is about.</summary>
    public SessionTerms Terms { get; }

    /// <summary>With what the arbiter joins its own session. It has no schema: 32 zero bytes.</summary>
    public JoinRequest JoinRequest { get; }

    /// <summary>With what a party joins the arbiter's session.</summary>
    /// <param name="job">The job.</param>
    /// <param name="request">With what it joins the parties' own session.</param>
    public static JoinRequest PartyRequest(GlmJob job, JoinRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        SessionTerms terms = GlmJobTerms.OfArbiter(job);
        return request with { TermsDigest = terms.TermsDigest, Sections = terms.Sections };
    }

    /// <summary>Serves one job.</summary>
    /// <param name="channels">One channel to each party, in the order of <see cref="Terms"/>.</param>
    /// <param name="progress">Told the rounds answered so far and in all; null for nobody.</param>
    /// <param name="cancellationToken">Stops; the parties are told.</param>
    /// <exception cref="FedLearnException">The job failed; the parties have been told the error's id.</exception>
    public Task<ArbiterResult> RunAsync(IReadOnlyList<IPartyChannel> channels, IProgress<(int Rounds, int Of)>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(channels);
        return ChannelGuard.RunAsync(channels, () => ServeAsync(channels, progress, cancellationToken));
    }

    private async Task<ArbiterResult> ServeAsync(IReadOnlyList<IPartyChannel> channels, IProgress<(int Rounds, int Of)>? progress, CancellationToken cancellationToken)
    {
        await using IKeyHolder key = await _scheme.CreateKeyAsync(cancellationToken).ConfigureAwait(false);
        // Whoever has said its sizes waits for those of the slowest.
        (BatchLayout layout, int[] columns, double bound, double bits) = await ChannelGuard.WhileTheyWaitAsync(channels, stop => AgreeAsync(channels, stop), cancellationToken).ConfigureAwait(false);
        JointGradientCalibration? calibration = _plan.Mode != PrivacyMode.HeDp ? null
            : JointRules.Calibrate(_plan, layout, columns.Sum(), bound > 0 ? bound : null, key.Answers.Modulus, key.Answers.Unit, key.Answers.FloodBits, _scheme.SumError);
        JointGradientMechanism? mechanism = calibration is null ? null : _job.Privacy.TestNoiseSeed is { } seed
            ? JointGradientMechanism.NotPrivate(calibration, new TestNoise(unchecked((ulong)seed), _job.Privacy.He.Arbiter), new TestUniform(unchecked((ulong)seed), _job.Privacy.He.Arbiter))
            : new JointGradientMechanism(calibration, new CsprngNoise());
        foreach (IPartyChannel channel in channels)
        {
            await channel.SendAsync(0, Disclosure.Unprotected(new EncryptionKey(key.PublicKey), "public key"), cancellationToken).ConfigureAwait(false);
            await channel.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new[] { columns.Sum(), bound, bits }),
                $"agreement: columns of all parties, {(_plan.Mode == PrivacyMode.HeDp ? "declared bound of labels" : "the power of two that no number in them exceeds")}"), cancellationToken).ConfigureAwait(false);
        }

        int rounds = checked(_plan.Epochs * layout.Count);
        double seconds = 0, engineSeconds = 0;
        using var gate = new SemaphoreSlim(1);
        for (int round = 0; round < rounds; round++)
        {
            // Who sends first is answered first; with test noise the order is the job's, so that runs can be repeated.
            Task<MaskedProducts>[] masked = [.. channels.Select((channel, i) => channel.ReceiveAsync<MaskedProducts>(round, columns[i], cancellationToken).AsTask())];
            if (mechanism is { IsSecure: false })
                await Task.WhenAll(masked).ConfigureAwait(false);
            await Task.WhenAll(channels.Select((_, i) => AnswerAsync(round, i, masked[i]))).ConfigureAwait(false);
            progress?.Report((round + 1, rounds));
        }

        async Task AnswerAsync(int round, int party, Task<MaskedProducts> receiving)
        {
            MaskedProducts masked = await receiving.ConfigureAwait(false);
            IPartyChannel channel = channels[party];
            Released<MaskedAnswers> answer;
            // Asked for here, in the order of the messages, and waited for elsewhere.
            Task turn = gate.WaitAsync(cancellationToken);
            try
            {
                await ChannelGuard.WhileTheyWaitAsync([channel], _ => turn, cancellationToken).ConfigureAwait(false);
                long start = Stopwatch.GetTimestamp();
                BigInteger[] opened = await ChannelGuard.WhileTheyWaitAsync([channel],
                    stop => EncryptedGradients.CheckedAsync(round, channel, () => key.OpenAsync(masked.Bytes, columns[party], stop)), cancellationToken).ConfigureAwait(false);
                engineSeconds += Stopwatch.GetElapsedTime(start).TotalSeconds;
                answer = mechanism is null ? Flooded(opened, key.Answers)
                    : mechanism.Release(channel.RemoteParty, opened, key.Answers.Modulus, key.Answers.Bytes, layout.Size(round % layout.Count), "mean gradients with noise");
                seconds += Stopwatch.GetElapsedTime(start).TotalSeconds;
            }
            finally
            {
                if (turn.IsCompletedSuccessfully)
                    gate.Release();
            }

            // One party that reads slowly does not hold up the answers of the others.
            await channel.SendAsync(round, answer, cancellationToken).ConfigureAwait(false);
        }

        foreach (IPartyChannel channel in channels)
            await channel.CompleteAsync(cancellationToken).ConfigureAwait(false);
        return new ArbiterResult
        {
            Name = _job.Privacy.He.Arbiter,
            Engine = _scheme.Engine,
            Scheme = _scheme.Name,
            Rounds = rounds,
            ComputeSeconds = seconds,
            EngineSeconds = engineSeconds,
            Calibration = calibration,
            SecureNoise = mechanism?.IsSecure ?? true,
            Sent = GlmReleases.Sent(channels),
            Traffic = ChannelStatistics.Of(channels),
        };
    }

    /// <summary>What leaves in mode he: the exact gradient under the receiver's own mask, flooded so that no exact coefficient of a decryption leaves.</summary>
    private static Released<MaskedAnswers> Flooded(BigInteger[] opened, AnswerSpace space)
    {
        byte[] bytes = new byte[opened.Length * space.Bytes];
        for (int j = 0; j < opened.Length; j++)
        {
            BigInteger answer = BigInteger.Remainder(opened[j] + Flooding.Uniform(space.FloodBits) + space.Modulus, space.Modulus);
            answer.TryWriteBytes(bytes.AsSpan(j * space.Bytes, space.Bytes), out _, isUnsigned: true);
        }

        return Cryptosystem.Release(new MaskedAnswers(bytes, opened.Length), "exact mean gradients", "mask of the receiver", "the receiver");
    }

    private static async Task<(BatchLayout Layout, int[] Columns, double TargetBound, double ColumnBits)> AgreeAsync(IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken)
    {
        var sizes = new List<double[]>();
        foreach (IPartyChannel channel in channels)
        {
            double[] theirs = [.. (await ChannelGuard.ReceiveScalarsAsync(channel, 0, ScalarsKind.Agreement, 5, cancellationToken).ConfigureAwait(false)).Values.Span];
            bool whole = theirs[..3].All(v => v is >= 1 and <= int.MaxValue && v == Math.Floor(v)) && theirs[1] <= theirs[0] && theirs[3] >= 0
                && theirs[4] is >= 0 and <= EncryptedGradients.LargestBits && theirs[4] == Math.Floor(theirs[4]);
            if (!whole || (sizes.Count > 0 && (theirs[0] != sizes[0][0] || theirs[1] != sizes[0][1])))
                throw ProtocolErrors.Peer(GlmJointErrors.SizesDiffer, channel.RemoteParty, "before round 0", "it names other numbers of rows or batches than the party before it, or impossible ones.",
                    "Check that all parties run the same job on the same common rows.");
            sizes.Add(theirs);
            // Every party is told the sum, as a number of 32 bits.
            if (sizes.Sum(s => s[2]) > int.MaxValue)
                throw ProtocolErrors.Peer(GlmJointErrors.SizesDiffer, channel.RemoteParty, "before round 0", "with its columns there are more than 2^31 - 1, which is impossible.",
                    "Check that all parties run the same release of the software.");
        }

        return (new BatchLayout((int)sizes[0][0], (int)sizes[0][1]), [.. sizes.Select(s => (int)s[2])], sizes.Max(s => s[3]), sizes.Max(s => s[4]));
    }
}
