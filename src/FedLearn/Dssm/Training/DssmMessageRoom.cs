using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>Refuses a job whose messages a party's channels do not take, before anything is charged or trained: those of all events of a set are met after the last round, and would take the finished model with them.</summary>
internal static class DssmMessageRoom
{
    /// <summary>Checks the messages of a training, those that this party sends and those that it receives.</summary>
    /// <param name="plan">The job.</param>
    /// <param name="role">This party's role.</param>
    /// <param name="samples">Samples of each set: those of training, and those that are evaluated.</param>
    /// <param name="once">Claim one-shot: rows of a static view, which sends nothing else; null of one with moments.</param>
    /// <param name="calibration">Noise of this party's messages; null for none.</param>
    /// <param name="channels">Its channels.</param>
    /// <exception cref="PeerException">FL4006: a channel takes no message as large as one of them.</exception>
    public static void Check(DssmPlan plan, PartyRole role, IReadOnlyList<(string Name, int Count)> samples, int? once, EmbeddingCalibration? calibration, IReadOnlyList<IPartyChannel> channels)
    {
        (ElementType, int) plain = (plan.Job.Model.Precision == TowerPrecision.Float32 ? ElementType.Float32 : ElementType.Float64, 0);
        int bits = calibration is null ? 0 : GaussianMechanism.BitsOf(calibration.MessageNoise);
        bool masked = plan.Job.MaskedSum, noised = plan.Noises(PartyRole.Passive);
        int train = samples[0].Count, batch = Math.Min(plan.Job.Training.BatchSize, train);
        if (plan.OneShot)
        {
            Room(once is null ? "vectors of all training events, sent once" : "vectors of all shared users, sent once", once ?? train, Vectors(noised), once is null ? "use fewer training events" : "use fewer users");
        }
        else
        {
            Room("vectors of a batch", batch, Vectors(noised), "lower training.batchSize");
            Room("gradients of a batch", batch, Packed(PartyRole.Active, plan.Noises(PartyRole.Active)), "lower training.batchSize");
        }

        for (int set = 1; set < samples.Count && once is null; set++)
            Room($"vectors of all {samples[set].Name} events, which measure the model", samples[set].Count, Vectors(plan.NoisesEvaluation),
                plan.Private ? "use fewer of them, or set privacy.evaluation to none" : "use fewer of them");

        // Under masks every number takes 64 bits.
        (ElementType, int)? Vectors(bool areNoised) => masked ? (ElementType.Float64, 0) : Packed(PartyRole.Passive, areNoised);

        // Null where another party adds the noise: that party knows how many bits its numbers take, and checks its own messages.
        (ElementType, int)? Packed(PartyRole from, bool isNoised) => !isNoised ? plain : from == role ? (ElementType.Lattice, bits) : null;

        void Room(string what, int rows, (ElementType, int)? element, string smaller)
        {
            if (element is { } packed && rows > 0)
                MessageRoom.Check(what, MessageRoom.PackedBytes((long)rows * plan.Job.Width, packed), smaller, channels);
        }
    }
}
