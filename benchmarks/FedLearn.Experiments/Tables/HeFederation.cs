using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Diagnostics;
using FedLearn.Glm;
using FedLearn.Protocol;

namespace FedLearn.Experiments.Tables;

/// <summary>All parties of an encrypted job and its arbiter in one process, over channels in memory.</summary>
internal static class HeFederation
{
    // An encrypted round of many columns can outlast the default of one minute on a busy machine.
    private static readonly ChannelOptions Patient = new() { ReceiveTimeout = TimeSpan.FromMinutes(10) };

    /// <summary>CKKS with one worker a role: libsealc where it is, else node-seal.</summary>
    /// <param name="mode">Mode of the job: the noise of he+dp covers the rounding of encoded columns, which finer columns make smaller.</param>
    public static IAdditiveScheme Ckks(PrivacyMode mode)
    {
        int columnBits = mode == PrivacyMode.HeDp ? 34 : 26;
        return CkksScheme.OnNative(1, columnBits) ?? CkksScheme.OnNode(1, columnBits);
    }

    /// <summary>Trains.</summary>
    /// <param name="job">The job, in mode he or he+dp.</param>
    /// <param name="inputs">What each party brings, in the job's order.</param>
    /// <param name="scheme">Makes a role's scheme.</param>
    /// <param name="cancellationToken">Stops all.</param>
    /// <exception cref="FedLearnException">The job failed; the error of the role that failed first.</exception>
    public static async Task<(IReadOnlyList<GlmPartyResult> Parties, ArbiterResult Arbiter)> TrainAsync(GlmJob job, IReadOnlyList<GlmPartyInput> inputs,
        Func<IAdditiveScheme> scheme, CancellationToken cancellationToken)
    {
        var arbiter = new EncryptionArbiter(job, scheme());
        (InMemoryChannel First, InMemoryChannel Second)[] pairs = [.. inputs.Select(i => InMemoryChannel.CreatePair(job.Privacy.He.Arbiter, i.Party, Patient))];
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task<ArbiterResult> serving = Task.Run(() => arbiter.RunAsync([.. pairs.Select(p => p.First)], null, stop.Token), CancellationToken.None);
        try
        {
            GlmPartyInput[] joined = [.. inputs.Select((input, i) => input with
            {
                JointGradients = _ => Task.FromResult<IJointGradients>(new EncryptedGradients(job, input.Party, scheme(), pairs[i].Second)),
            })];
            IReadOnlyList<GlmPartyResult> parties = await LocalFederation.TrainAsync(job, joined, Patient, cancellationToken: cancellationToken).ConfigureAwait(false);
            return (parties, await serving.ConfigureAwait(false));
        }
        catch (PeerException)
        {
            // What the parties throw may be an echo of the arbiter's own error.
            await stop.CancelAsync().ConfigureAwait(false);
            try
            {
                await serving.ConfigureAwait(false);
            }
            catch (Exception e) when (e is PeerException or OperationCanceledException)
            {
                // The arbiter heard it from the parties.
            }

            throw;
        }
        finally
        {
            await stop.CancelAsync().ConfigureAwait(false);
            await serving.ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default).ConfigureAwait(false);
            foreach ((InMemoryChannel first, InMemoryChannel second) in pairs)
            {
                await first.DisposeAsync().ConfigureAwait(false);
                await second.DisposeAsync().ConfigureAwait(false);
            }
        }
    }
}
