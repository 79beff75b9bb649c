using FedLearn.Baselines.HomomorphicEncryption;
using FedLearn.Baselines.HomomorphicEncryption.Paillier;
using FedLearn.Diagnostics;
using FedLearn.Testing;

namespace FedLearn.Baselines.Tests.Protocol;

/// <summary>The schemes that tests of the protocol run on; what the machine lacks skips.</summary>
internal static class Schemes
{
    internal const string Reference = "reference", Ckks = "ckks", Paillier = "paillier";

    internal static async Task<IAdditiveScheme> NamedAsync(string name)
    {
        if (name == Reference)
            return new ReferenceAdditiveScheme();
        IAdditiveScheme scheme = name == Ckks ? CkksScheme.OnNode() : new PaillierScheme(2048, PaillierVariant.Fast, 1);
        try
        {
            if (name == Ckks)
                await (await NodeSealEngine.StartAsync(CancellationToken.None)).DisposeAsync();
            else
                Gmp.Require();
        }
        catch (InternalFailureException e) when (e.Id is HeErrors.SealMissing or HeErrors.GmpMissing)
        {
            Assert.Skip(e.Message);
        }

        return scheme;
    }
}
