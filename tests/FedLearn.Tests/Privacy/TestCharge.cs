using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy;

/// <summary>A charge of a record for one Gaussian message, which tests change to what they are about.</summary>
internal static class TestCharge
{
    public static PrivacyCharge New() => new()
    {
        RunId = PrivacyCharge.NewRunId(),
        Party = "bank",
        DataSet = DataSetIdentity.Of(new byte[32]),
        JobName = "job",
        JobDigest = "",
        Mechanism = "gaussian",
        Claim = "as tested",
        Parameters = "{}",
        Unit = PrivacyUnit.Record,
        Adjacency = Adjacency.ReplaceOne,
        Messages = 1,
        PureEpsilon = 0,
        MuSquared = 1,
    };
}
