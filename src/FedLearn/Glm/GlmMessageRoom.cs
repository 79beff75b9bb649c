using System.Globalization;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>Refuses messages that a party's channels do not take, before anything is charged or trained: met after the last round, they would take the finished model with them.</summary>
internal static class GlmMessageRoom
{
    /// <summary>Checks the messages of a training whose size the job tells, those that this party sends and those that it receives.</summary>
    /// <param name="plan">The job.</param>
    /// <param name="layout">Batches of the training rows.</param>
    /// <param name="test">Test rows.</param>
    /// <param name="heldOut">Rows that early stopping looks at.</param>
    /// <param name="columns">Columns of this party.</param>
    /// <param name="own">How this party packs its training messages.</param>
    /// <param name="isActive">Whether this is the active party.</param>
    /// <param name="channels">Its channels to other parties.</param>
    /// <exception cref="PeerException">FL4006: a channel takes no message as large as one of them.</exception>
    public static void Check(GlmPlan plan, BatchLayout layout, int test, int heldOut, int columns, (ElementType Type, int Bits) own, bool isActive, IReadOnlyList<IPartyChannel> channels)
    {
        const string Rows = "use fewer rows", TestRows = "use fewer test rows", Batches = "use more batches per epoch", Columns = "use fewer columns";
        int outputs = plan.Family.Outputs, train = layout.Rows;
        string scores = outputs == 1 ? "scores" : string.Create(CultureInfo.InvariantCulture, $"{outputs:N0} scores a row");
        bool oneRound = plan.Mode == PrivacyMode.OneRound, vectors = plan.Optimizer == GlmOptimizer.Irls;
        if (oneRound)
            MessageRoom.Check("released labels of all training rows", LabelRelease.BytesOf(plan, train), Rows, channels);
        else if (!vectors && !JointRules.Covers(plan.Mode))
            MessageRoom.Check($"{scores} of a batch", MessageRoom.PackedBytes((long)layout.LargestSize * outputs, own), plan.FullBatch ? Rows : Batches, channels);
        if (vectors || plan.Job.Inference)
            MessageRoom.Check("a column of all training rows", MessageRoom.PackedBytes(train, (ElementType.Float64, 0)), Rows, channels);
        if (plan.SendsTrainScores)
            MessageRoom.Check($"{scores} of all training rows, which measure the model", MessageRoom.PackedBytes((long)train * outputs, (plan.ElementType, 0)), Rows, channels);
        if (plan.SendsTestScores)
            MessageRoom.Check($"{scores} of all test rows, which measure the model", MessageRoom.PackedBytes((long)test * outputs, (oneRound ? ElementType.Float64 : plan.ElementType, 0)),
                plan.Mode == PrivacyMode.None ? TestRows : TestRows + ", or set privacy.evaluation to none", channels);
        MessageRoom.Check($"{scores} of all held-out rows", MessageRoom.PackedBytes((long)heldOut * outputs, (plan.ElementType, 0)), "hold fewer rows out", channels);
        if (isActive)
            return; // how many columns the others mix is not known yet
        long mixed = plan.Job.Model.L2 > 0 ? Math.Min(columns, train) : columns;
        // More columns than the active party takes leave a trained model without standard errors, which is no reason to train none.
        if (plan.Job.Inference && mixed <= GlmActiveTrainer.MostColumns)
            CheckCovariance(mixed, channels);
        if (vectors)
            MessageRoom.Check("the weights of this party's mixed columns", sizeof(double) * mixed * outputs, Columns, channels);
    }

    /// <summary>Checks the noisy scores that passive parties send in one-round training, at both ends and before the labels that they fit are charged.</summary>
    /// <param name="plan">The job.</param>
    /// <param name="rows">Training rows.</param>
    /// <param name="own">This party.</param>
    /// <param name="channels">Its channels to other parties, in the job's order.</param>
    /// <exception cref="PeerException">FL4006.</exception>
    public static void CheckOneRoundScores(GlmPlan plan, int rows, GlmPartyOptions own, IReadOnlyList<IPartyChannel> channels)
    {
        IEnumerable<GlmPartyOptions> senders = own.Party.Role == PartyRole.Passive ? [own] : plan.Job.Parties.Where(p => p.Party.Role == PartyRole.Passive);
        foreach ((GlmPartyOptions sender, IPartyChannel channel) in senders.Zip(channels))
            MessageRoom.Check("noisy scores of all training rows", MessageRoom.PackedBytes((long)rows * plan.Family.Outputs, (ElementType.Lattice, OneRoundRules.MostScoreBits(plan, sender))), "use fewer rows", [channel]);
    }

    /// <summary>Whether a covariance of so many columns is a message that a channel takes.</summary>
    public static bool TakesCovariance(double columns, IPartyChannel channel) => sizeof(double) * (2 + columns * columns) + MessageRoom.Envelope <= channel.MaxMessageBytes;

    /// <summary>Refuses columns whose covariance no channel takes.</summary>
    /// <param name="columns">Mixed columns of a passive party at most.</param>
    /// <param name="channels">The channels to it, or from it.</param>
    /// <exception cref="PeerException">FL4006.</exception>
    public static void CheckCovariance(long columns, IReadOnlyList<IPartyChannel> channels) =>
        MessageRoom.Check("the covariance of a party's columns, for standard errors", sizeof(double) * (2 + columns * columns), "use fewer columns, or leave evaluation.inference out", channels);
}
