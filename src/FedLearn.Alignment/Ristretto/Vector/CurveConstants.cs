namespace FedLearn.Alignment.Ristretto;

/// <summary>Constants of RFC 9496 section 4.1 as words of 64 bits, least first.</summary>
internal static class CurveConstants
{
    /// <summary>d = -121665 / 121666.</summary>
    internal static ReadOnlySpan<ulong> D => [0x75EB4DCA135978A3, 0x00700A4D4141D8AB, 0x8CC740797779E898, 0x52036CEE2B6FFE73];

    /// <summary>2 d.</summary>
    internal static ReadOnlySpan<ulong> TwoD => [0xEBD69B9426B2F159, 0x00E0149A8283B156, 0x198E80F2EEF3D130, 0x2406D9DC56DFFCE7];

    /// <summary>i = sqrt(-1), SQRT_M1.</summary>
    internal static ReadOnlySpan<ulong> RootOfMinusOne => [0xC4EE1B274A0EA0B0, 0x2F431806AD2FE478, 0x2B4D00993DFBD7A7, 0x2B8324804FC1DF0B];

    /// <summary>sqrt(a d - 1), SQRT_AD_MINUS_ONE; a = -1.</summary>
    internal static ReadOnlySpan<ulong> RootOfADMinusOne => [0x7E97F6A0497B2E1B, 0xAF9D8E0C1B7854BD, 0x0F3CFCC931F5D1FD, 0x376931BF2B8348AC];

    /// <summary>1 / sqrt(a - d), INVSQRT_A_MINUS_D; a = -1.</summary>
    internal static ReadOnlySpan<ulong> InverseRootOfMinusOneMinusD => [0x99C8FDAA805D40EA, 0x9D2F16175A4172BE, 0x16C27B91FE01D840, 0x786C8905CFAFFCA2];

    /// <summary>1 - d^2, ONE_MINUS_D_SQ.</summary>
    internal static ReadOnlySpan<ulong> OneMinusDSquared => [0xE27C09C1945FC176, 0x2C81A138CD5E350F, 0x9994ABDDBE70DFE4, 0x029072A8B2B3E0D7];

    /// <summary>(d - 1)^2, D_MINUS_ONE_SQ.</summary>
    internal static ReadOnlySpan<ulong> DMinusOneSquared => [0x31AD5AAA44ED4D20, 0xD29E4A2CB01E1999, 0x4CDCD32F529B4EEB, 0x5968B37AF66C2241];

    /// <summary>Encoding of the generator.</summary>
    internal static ReadOnlySpan<ulong> Generator => [0x714EBC6A0AAEF2E2, 0x5F5100C561A984A8, 0x8DDD82A56A0BE358, 0x762D8DE04559A6B6];
}
