using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>All parties of a recommendation job in one process, over channels in memory: for experiments and tests.</summary>
public static class DssmFederation
{
    /// <summary>Trains a job.</summary>
    /// <param name="job">The job.</param>
    /// <param name="inputs">What each party brings; one a party of the job.</param>
    /// <param name="towers">Makes towers.</param>
    /// <param name="options">Settings of the channels; null for the defaults.</param>
    /// <param name="progress">Told by every party; null for nobody.</param>
    /// <param name="cancellationToken">Stops the job.</param>
    /// <returns>Each party's result, the active party's first, then in the job's order.</returns>
    /// <exception cref="FedLearnException">The job failed; the error of the party that failed first.</exception>
    public static async Task<IReadOnlyList<DssmPartyResult>> TrainAsync(DssmJob job, IReadOnlyList<DssmPartyInput> inputs, ITowerFactory towers,
        ChannelOptions? options = null, IProgress<DssmProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        DssmTrainer[] parties = [.. InOrder(job, inputs).Select(input => new DssmTrainer(job, input, towers))];
        return await LocalSession.RunAsync(parties[0].Terms, [.. parties.Select(p => p.JoinRequest)], options ?? new ChannelOptions(),
            (i, agreement, channels, stop) => parties[i].TrainAsync(agreement, channels, progress, stop), cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Runs a session with a trained model.</summary>
    /// <param name="job">The job that trained it.</param>
    /// <param name="inputs">What each party brings, its part of the model included.</param>
    /// <param name="towers">Makes towers.</param>
    /// <param name="purpose">What is wanted.</param>
    /// <param name="options">Settings of the channels; null for the defaults.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>What the active party finds.</returns>
    /// <exception cref="FedLearnException">The session failed; the error of the party that failed first.</exception>
    public static async Task<DssmInferenceResult> InferAsync(DssmJob job, IReadOnlyList<DssmPartyInput> inputs, ITowerFactory towers, DssmPurpose purpose,
        ChannelOptions? options = null, CancellationToken cancellationToken = default)
    {
        // Who runs all parties speaks for all.
        DssmInference[] parties = [.. InOrder(job, inputs).Select(input => new DssmInference(job, input, towers, purpose, newUsers: true))];
        IReadOnlyList<DssmInferenceResult> results = await LocalSession.RunAsync(parties[0].Terms, [.. parties.Select(p => p.JoinRequest)], options ?? new ChannelOptions(),
            (i, agreement, channels, stop) => parties[i].RunAsync(agreement, channels, stop), cancellationToken).ConfigureAwait(false);
        return results[0];
    }

    private static IEnumerable<DssmPartyInput> InOrder(DssmJob job, IReadOnlyList<DssmPartyInput> inputs)
    {
        ArgumentNullException.ThrowIfNull(job);
        ArgumentNullException.ThrowIfNull(inputs);
        return job.Parties.OrderBy(p => p.Party.Role).Select(p => inputs.FirstOrDefault(i => i.Party == p.Party.Name)
            ?? throw new ConfigurationException(DssmErrors.InvalidJob, $"party '{p.Party.Name}'", "it brings no input.", "Give one input a party."));
    }
}
