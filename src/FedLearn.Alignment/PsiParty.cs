using FedLearn.Alignment.Ristretto;
using FedLearn.Coordination;
using FedLearn.Parties;
using FedLearn.Protocol;

namespace FedLearn.Alignment;

/// <summary>One party's side of private set intersection with one peer, on a channel that is open. For a job's alignment with all its parties there is <see cref="PsiAlignment"/>.</summary>
public static class PsiParty
{
    /// <summary>Finds the ids that both parties have.</summary>
    /// <param name="role">Active or passive: each of the two parties is one of them. Two of one role fail with FL4125.</param>
    /// <param name="ids">Own ids, one a row. Several columns are joined by U+001F.</param>
    /// <param name="jobDigest">32 bytes, the same at both parties, such as a SHA-256 of what they agreed on; different ones fail with FL4125. An id is blinded otherwise in each job.</param>
    /// <param name="channel">Channel to the peer. It stays open.</param>
    /// <param name="options">Settings; null for the defaults.</param>
    /// <param name="progress">Told how far it is; null for nobody.</param>
    /// <param name="cancellationToken">Stops; the peer is told.</param>
    /// <exception cref="ArgumentException">The role is neither, the digest has not 32 bytes, a setting is out of its range, or an id is null or has half a surrogate pair.</exception>
    /// <exception cref="FedLearn.Diagnostics.FedLearnException">The intersection failed; the peer has been told the error's id.</exception>
    public static Task<PsiResult> RunAsync(PartyRole role, IReadOnlyList<string> ids, ReadOnlyMemory<byte> jobDigest, IPartyChannel channel, PsiOptions? options = null,
        IProgress<AlignmentProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(ids);
        ArgumentNullException.ThrowIfNull(channel);
        options ??= new PsiOptions();
        options.Check();
        return ChannelGuard.RunAsync([channel], async () =>
        {
            IRistrettoEngine engine = RistrettoEngines.Create(options.Engine);
            using var workers = new Workers(options.Threads ?? Environment.ProcessorCount);
            PreparedIds prepared = await ChannelGuard.WhileTheyWaitAsync([channel], stop => workers.RunAsync(() => PreparedIds.Create(ids, options, workers.Threads), stop), cancellationToken).ConfigureAwait(false);
            using var session = new PsiSession(role, prepared, jobDigest, channel, options, engine, workers, progress);
            PsiOutcome outcome = await session.RunAsync(cancellationToken).ConfigureAwait(false);
            session.Finish();
            return outcome.Result;
        });
    }
}
