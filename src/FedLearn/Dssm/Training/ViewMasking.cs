using System.Security.Cryptography;
using FedLearn.Aggregation;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>A passive view's vectors under masks that cancel in the sum over all passive views.</summary>
internal sealed class ViewMasking(SumMaskingParty party, int views, double latticeStep) : IDisposable
{
    // Values beyond it would be no vectors of a tower; on the lattice it leaves sums of thousands of views exact.
    private readonly double _bound = Math.Min(1 << 20, latticeStep * (1L << 50));

    private const int Round = 0;

    private long _step;

    /// <summary>A view's side of the agreement on masks, before round 0.</summary>
    /// <param name="view">The view.</param>
    /// <param name="views">All passive views.</param>
    /// <param name="jobDigest">Digest of the job.</param>
    /// <param name="step">Step of the lattice that the view's noise is on; null: no noise.</param>
    /// <param name="channel">Channel to the label party, which relays the keys.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static async Task<ViewMasking> AgreeAsync(string view, IReadOnlyList<string> views, ReadOnlyMemory<byte> jobDigest, double? step, IPartyChannel channel,
        CancellationToken cancellationToken)
    {
        double latticeStep = step ?? SumMasking.NoiselessStep;
        var party = new SumMaskingParty(view, views, jobDigest, latticeStep);
        try
        {
            await channel.SendAsync(Round, Disclosure.Unprotected(party.Keys(), "masks: public key"), cancellationToken).ConfigureAwait(false);
            party.Agree(await channel.ReceiveAsync<AggregationMessage>(Round, null, cancellationToken).ConfigureAwait(false));
            return new ViewMasking(party, views.Count, latticeStep);
        }
        catch
        {
            party.Dispose(); // wipes the key
            throw;
        }
    }

    /// <summary>The label party's side: relays every view's key to all.</summary>
    public static async Task RelayAsync(IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken)
    {
        var keys = new List<(string, AggregationMessage)>();
        foreach (IPartyChannel channel in channels)
            keys.Add((channel.RemoteParty, await channel.ReceiveAsync<AggregationMessage>(Round, null, cancellationToken).ConfigureAwait(false)));
        AggregationMessage roster = SumMasking.Roster(keys);
        foreach (IPartyChannel channel in channels)
            await channel.SendAsync(Round, Disclosure.Unprotected(roster, "masks: public keys of all views"), cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Masks vectors of the next step.</summary>
    /// <param name="vectors">The vectors.</param>
    /// <param name="set">What they are for.</param>
    /// <param name="noise">Noise that they get first; null: none.</param>
    public Released<MaskedVector> Mask(double[] vectors, string set, GaussianMechanism? noise)
    {
        Released<Embeddings> released = noise is not null ? noise.Release(new Embeddings(vectors), $"{set} embeddings")
            : Disclosure.Unprotected(new Embeddings(LatticeVector.Of(vectors, latticeStep, _bound)), DssmDisclosures.Embeddings(set));
        // Without noise of each view's own the opened sum is what the label party learns, and is listed as such.
        return party.Mask(_step++, released, noise is null ? $"{DssmDisclosures.SumOf(views)}: {set}" : $"masked embeddings: {set}");
    }

    /// <summary>A view's own coin whether to leave its row of a sample out: under masks nobody else can know.</summary>
    public static bool Drops(double rate) => rate > 0 && RandomNumberGenerator.GetInt32(1 << 30) < rate * (1 << 30);

    public void Dispose() => party.Dispose();
}
