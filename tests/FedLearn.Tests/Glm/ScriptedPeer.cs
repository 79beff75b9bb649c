using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Tests.Glm;

/// <summary>Trains one real party against a peer that says what the script tells it to, whatever it hears.</summary>
internal static class ScriptedPeer
{
    /// <summary>What the party sent in training, round after round, and its result.</summary>
    /// <param name="job">A job of two parties, SGD, no test rows.</param>
    /// <param name="input">The real party's input; all its rows are common.</param>
    /// <param name="says">The peer's vector of a round, given the number of entries.</param>
    /// <param name="progress">Told after rounds; null for nobody.</param>
    internal static async Task<(double[][] Sent, GlmPartyResult Result)> TranscriptAsync(GlmJob job, GlmPartyInput input, Func<int, int, double[]> says,
        IProgress<GlmProgress>? progress = null)
    {
        var party = new GlmTrainer(job, input);
        bool active = party.JoinRequest.Party.Role == PartyRole.Active;
        JoinedParty[] parties = [.. party.Terms.Parties.Select(p => new JoinedParty(p.Name, party.JoinRequest.SchemaFingerprint))];
        var agreement = new SessionAgreement("scripted", SessionDesk.DigestOf(party.Terms.TermsDigest, parties), parties);
        (InMemoryChannel peer, InMemoryChannel own) = InMemoryChannel.CreatePair("peer", input.Party);
        Task<GlmPartyResult> training = party.TrainAsync(agreement, [own], progress);
        Task<double[][]> script = active ? PassiveAsync(job, input.Table, peer, says) : ActiveAsync(job, input.Table, peer, says);
        await Task.WhenAny(script, training).Unwrap();  // the party's own error rather than its echo
        return (await script, await training);
    }

    private static async Task<double[][]> ActiveAsync(GlmJob job, Table table, InMemoryChannel channel, Func<int, int, double[]> says)
    {
        HashedIds ids = await channel.ReceiveAsync<HashedIds>(0, table.Ids.Count);
        await channel.SendAsync(0, Disclosure.Unprotected(new RowSelection(Enumerable.Repeat((byte)1, ids.Length).ToArray()), "script"));
        await channel.ReceiveAsync<Scalars>(0, 3);
        await channel.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new double[] { 1 }), "script"));
        GlmPlan plan = GlmPlan.Create(job);
        BatchLayout layout = plan.Layout(ids.Length);
        int outputs = plan.Family.Outputs;
        double[][] heard = new double[job.Training.Epochs!.Value * layout.Count][];
        for (int round = 0; round < heard.Length; round++)
        {
            int size = outputs * layout.Size(round % layout.Count);
            heard[round] = (await channel.ReceiveAsync<Scores>(round, size)).Values.ToArray();
            await channel.SendAsync(round, Disclosure.Unprotected(Scripted.Residuals(plan, says(round, size)), "script"));
        }

        if (job.Privacy.Mode == PrivacyMode.None)
            await channel.ReceiveAsync<Scores>(heard.Length, ids.Length);
        await channel.CompleteAsync();
        return heard;
    }

    private static async Task<double[][]> PassiveAsync(GlmJob job, Table table, InMemoryChannel channel, Func<int, int, double[]> says)
    {
        int rows = table.Ids.Count;
        await channel.SendAsync(0, Disclosure.Unprotected(new HashedIds(RowIds.Order(table.Ids, job.Training.Seed).Digests), "script"));
        await channel.ReceiveAsync<RowSelection>(0, rows);
        await channel.SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Agreement, new[] { rows, 0, (double)RowSplit.Fingerprint48(new bool[rows]) }), "script"));
        await channel.ReceiveAsync<Scalars>(0, 1);
        GlmPlan plan = GlmPlan.Create(job);
        BatchLayout layout = plan.Layout(rows);
        int outputs = plan.Family.Outputs;
        double[][] heard = new double[job.Training.Epochs!.Value * layout.Count][];
        for (int round = 0; round < heard.Length; round++)
        {
            int size = outputs * layout.Size(round % layout.Count);
            await channel.SendAsync(round, Disclosure.Unprotected(Scripted.Scores(plan, says(round, size)), "script"));
            heard[round] = (await channel.ReceiveAsync<Residuals>(round, size)).Values.ToArray();
        }

        if (job.Privacy.Mode == PrivacyMode.None)
            await channel.SendAsync(heard.Length, Disclosure.Unprotected(new Scores(new double[rows]), "script"));
        await channel.CompleteAsync();
        return heard;
    }
}
