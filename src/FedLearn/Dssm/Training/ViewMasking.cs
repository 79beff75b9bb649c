using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using FedLearn.Aggregation;
using FedLearn.Coordination;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>A passive view's vectors under masks that cancel in the sum over all passive views.</summary>
internal sealed class ViewMasking(SumMaskingParty party, int views, double latticeStep, byte[] coins, IMaskedOutbox? outbox) : IDisposable
{
    private const int CoinBytes = 32;

    // No honest tower gives larger values, and below it sums of thousands of views on the lattice are exact.
    private readonly double _bound = Math.Min(1 << 20, latticeStep * (1L << 50));

    private const int Round = 0;

    private long _step;

    /// <summary>A view's side of the agreement on masks, before round 0: the active party relays the keys. Coins of a test follow from a seed that everybody can know.</summary>
    public static async Task<ViewMasking> AgreeAsync(string view, IReadOnlyList<string> views, ReadOnlyMemory<byte> jobDigest, double latticeStep, long? testCoins, IMaskedOutbox? outbox,
        IPartyChannel channel, CancellationToken cancellationToken)
    {
        byte[] coins = testCoins is { } seed ? SHA256.HashData([.. BitConverter.GetBytes(seed), .. Encoding.UTF8.GetBytes(view)]) : RandomNumberGenerator.GetBytes(CoinBytes);
        var party = new SumMaskingParty(view, views, jobDigest, latticeStep);
        try
        {
            await channel.SendAsync(Round, Disclosure.Unprotected(party.Keys(), "masks: public key"), cancellationToken).ConfigureAwait(false);
            party.Agree(await channel.ReceiveAsync<AggregationMessage>(Round, null, cancellationToken).ConfigureAwait(false));
            return new ViewMasking(party, views.Count, latticeStep, coins, outbox);
        }
        catch
        {
            party.Dispose(); // wipes the key
            throw;
        }
    }

    /// <summary>Goes on with the masks of a run that was cut off.</summary>
    /// <remarks>The seeds survive, since a step may have left one view and not the other: it can be opened only when the other masks its vectors under the same seeds. New keys would need the
    /// step masked a second time at the view that has sent it.</remarks>
    public static ViewMasking Restore(string view, IReadOnlyList<string> views, ReadOnlyMemory<byte> jobDigest, double latticeStep, StateReader state, IMaskedOutbox outbox)
    {
        var party = new SumMaskingParty(view, views, jobDigest, latticeStep);
        party.Restore(state);
        byte[] coins = state.Bytes("coins").ToArray();
        return coins.Length != CoinBytes ? throw state.Damaged() : new ViewMasking(party, views.Count, latticeStep, coins, outbox) { _step = state.Integer("masks.next") };
    }

    /// <summary>Adds seeds, coins and the next step to a state.</summary>
    public void Save(StateWriter state)
    {
        party.Save(state);
        state.Add("coins", coins).Add("masks.next", _step);
    }

    /// <summary>The active party's side: relays every view's key to all.</summary>
    public static async Task RelayAsync(IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken)
    {
        var keys = new List<(string, AggregationMessage)>();
        foreach (IPartyChannel channel in channels)
            keys.Add((channel.RemoteParty, await channel.ReceiveAsync<AggregationMessage>(Round, null, cancellationToken).ConfigureAwait(false)));
        AggregationMessage roster = SumMasking.Roster(keys);
        foreach (IPartyChannel channel in channels)
            await channel.SendAsync(Round, Disclosure.Unprotected(roster, "masks: public keys of all views"), cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Masks vectors of the next step, which get their noise first.</summary>
    public Released<MaskedVector> Mask(double[] vectors, string set, GaussianMechanism? noise)
    {
        Released<Embeddings> released = noise is not null ? noise.Release(new Embeddings(vectors), $"{set} embeddings")
            : Disclosure.Unprotected(new Embeddings(LatticeVector.Of(vectors, latticeStep, _bound)), DssmDisclosures.Embeddings(set));
        // Without noise of each view's own the opened sum is what the active party learns, and is listed as such.
        return party.Mask(_step++, released, noise is null ? $"{DssmDisclosures.SumOf(views)}: {set}" : $"masked embeddings: {set}", outbox);
    }

    /// <summary>A view's own coin whether to leave its row of a sample out: under masks nobody else can know. The same when the epoch is repeated after a loss.</summary>
    public bool Drops(double rate, int epoch, int sample)
    {
        if (!(rate > 0))
            return false;
        Span<byte> place = stackalloc byte[2 * sizeof(int)], coin = stackalloc byte[SHA256.HashSizeInBytes];
        BinaryPrimitives.WriteInt32LittleEndian(place, epoch);
        BinaryPrimitives.WriteInt32LittleEndian(place[sizeof(int)..], sample);
        HMACSHA256.HashData(coins, place, coin);
        return PublicRandom.Unit(BinaryPrimitives.ReadUInt64LittleEndian(coin)) < rate;
    }

    public void Dispose()
    {
        CryptographicOperations.ZeroMemory(coins);
        party.Dispose();
    }
}
